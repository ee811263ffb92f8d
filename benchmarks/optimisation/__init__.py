# SPDX-License-Identifier: Apache-2.0
"""Parts of benchmarks/optimisers.py: landscapes, peers, and the runs over both."""
