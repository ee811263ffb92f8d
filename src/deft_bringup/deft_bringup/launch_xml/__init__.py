# SPDX-License-Identifier: Apache-2.0
"""A small interpreter of XML launch files, for machines without `ros2 launch`."""
