# SPDX-License-Identifier: Apache-2.0
"""What stands on the table of several tasks: shapes, cups, spoons."""
