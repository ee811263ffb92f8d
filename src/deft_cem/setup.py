# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

PACKAGE = 'deft_cem'

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
    description='Practice from a prior: optimiser, session, records and residual policy of DEFT.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            f'session_node = {PACKAGE}.nodes.session_node:main',
            f'visual_reward = {PACKAGE}.nodes.visual_reward:main',
            f'replay_trainer = {PACKAGE}.nodes.replay_trainer:main',
        ],
    },
)
