# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

PACKAGE = 'deft_arm'

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
    description='Motion planning, safety checks and episode execution for the xArm6.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            f'arm_node = {PACKAGE}.nodes.arm_node:main',
            f'emergency_stop_station = {PACKAGE}.nodes.emergency_stop_station:main',
        ],
    },
)
