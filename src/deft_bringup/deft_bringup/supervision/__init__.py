# SPDX-License-Identifier: Apache-2.0
"""Running the processes of a launch: start, output, signals, no orphans."""
