# SPDX-License-Identifier: Apache-2.0
"""Image encoders phi; `deft_cem.encoders.registry.make_encoder` builds them by name."""
