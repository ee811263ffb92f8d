# SPDX-License-Identifier: Apache-2.0
"""Who scores an episode: a person, or the distance of its last image to a goal image."""
