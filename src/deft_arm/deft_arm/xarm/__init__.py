# SPDX-License-Identifier: Apache-2.0
"""What an xArm controller says and takes."""
