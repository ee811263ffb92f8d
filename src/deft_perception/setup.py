# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

PACKAGE = 'deft_perception'

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
    description='From aligned depth to a segmented object in the base frame; calibration on TF.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'segmentation_node = deft_perception.nodes.segmentation_node:main',
            'camera_calibration_node = deft_perception.nodes.camera_calibration_node:main',
            'calibration_publisher = deft_perception.nodes.calibration_publisher:main',
        ],
    },
)
