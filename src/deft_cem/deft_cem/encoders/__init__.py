# SPDX-License-Identifier: Apache-2.0
"""Image encoders phi; `deft_cem.image_encoder.make_encoder` builds them by name."""
