# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

PACKAGE = 'dynamixel_simulator'

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
    description='Simulated Dynamixel servos on a pseudo-terminal, control tables and packets.',
    license='Apache-2.0',
)
