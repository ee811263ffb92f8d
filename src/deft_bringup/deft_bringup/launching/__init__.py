# SPDX-License-Identifier: Apache-2.0
"""`deft launch` for machines without `ros2 launch`: read a launch file, run its nodes."""
