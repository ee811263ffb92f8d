# SPDX-License-Identifier: Apache-2.0
"""The commands of `deft`: each module has `add_arguments(parser)` and `main(arguments)`."""
