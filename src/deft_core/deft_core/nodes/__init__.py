# SPDX-License-Identifier: Apache-2.0
"""What every node shares: QoS, parameters, message converters and the main loop."""
