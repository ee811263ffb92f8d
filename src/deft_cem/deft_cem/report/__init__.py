# SPDX-License-Identifier: Apache-2.0
"""The page that shows what one fine-tuning session did."""
