# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

PACKAGE = 'deft_hand_driver'

setup(
    name=PACKAGE,
    version='0.1.0',
    packages=find_packages(exclude=['test']),
    package_data={PACKAGE: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
    ],
    install_requires=['setuptools'],
    zip_safe=True,
    maintainer='DEFT developers',
    maintainer_email='deft@example.org',
    description='Driver of tendon and direct hands on a Dynamixel bus, with simulated servos.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            f'hand_driver_node = {PACKAGE}.nodes.hand_driver_node:main',
            f'map_calibration_node = {PACKAGE}.nodes.map_calibration_node:main',
        ],
    },
)
