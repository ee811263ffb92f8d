# SPDX-License-Identifier: Apache-2.0
"""`deft hand`: one module per action; each has `add_arguments(parser)` and `main(arguments)`."""
