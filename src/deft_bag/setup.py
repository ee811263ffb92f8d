# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

PACKAGE = 'deft_bag'

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
    zip_safe=False,
    maintainer='DEFT developers',
    maintainer_email='deft@example.org',
    description='Bags of episodes: writer, reader, dataset, player and stream recorder.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            f'stream_recorder = {PACKAGE}.nodes.stream_recorder:main',
            f'bag_player = {PACKAGE}.nodes.bag_player:main',
        ],
    },
)
