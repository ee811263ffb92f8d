# SPDX-License-Identifier: Apache-2.0
"""Every method on every landscape, episode by episode, paired by seed and kept on disk."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from deft_cem.optimisers.cem import (
    DEFAULT_EPISODES,
    DEFAULT_WARM_UP,
    initial_standard_deviation,
)
from deft_cem.optimisers.registry import OptimiserSettings
from optimisation.ablations import ABLATIONS
from optimisation.landscapes import DIMENSION, EDGES, FAMILIES, make_landscape
from optimisation.peers import PEERS

FloatArray = npt.NDArray[np.float64]
ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / 'runs' / 'optimisers'
OPTIMISERS: Final = ROOT / 'src' / 'deft_cem' / 'deft_cem' / 'optimisers'
NOISES: Final = ('mild', 'heavy')
SIGMA: Final = initial_standard_deviation()


class Search(Protocol):
    """What a run needs of a method: residuals z in units of the first spread."""

    def ask(self) -> FloatArray:
        """Next z. Shape (22,)."""
        ...

    def tell(self, reward: float) -> None:
        """Rate it."""
        ...

    @property
    def recommendation(self) -> FloatArray:
        """The z to deploy. Shape (22,)."""
        ...


class OwnSearch:
    """An optimiser of the project, in the paper's setting."""

    def __init__(self, settings: OptimiserSettings, seed: int) -> None:
        """Start with E, M and the first spread of the paper."""
        self._optimiser = settings.make(SIGMA, seed)

    def ask(self) -> FloatArray:
        """Next z. Shape (22,)."""
        return self._optimiser.ask().residual / SIGMA

    def tell(self, reward: float) -> None:
        """Rate it."""
        pending = self._optimiser.pending
        assert pending is not None
        self._optimiser.tell(pending.index, reward)

    @property
    def recommendation(self) -> FloatArray:
        """The z to deploy. Shape (22,)."""
        return self._optimiser.recommendation / SIGMA


@dataclass(frozen=True)
class Method:
    """One row of the comparison.

    Attributes:
        name: In tables.
        make: From a seed.
        seeds: How many; methods that take minutes per session get fewer.
        step: The recommendation is valued every so many episodes.
        sources: Texts that its results depend on; others than these make no difference.
    """

    name: str
    make: Callable[[int], Search]
    seeds: int
    step: int = 1
    sources: tuple[str, ...] = field(default=(), repr=False)

    @property
    def fingerprint(self) -> str:
        """Changes with the method's code and settings, and with the landscapes."""
        landscapes = (Path(__file__).parent / 'landscapes.py').read_text(encoding='utf-8')
        digest = hashlib.sha256(json.dumps([self.name, self.step, landscapes]).encode())
        for source in self.sources:
            digest.update(source.encode())
        return digest.hexdigest()[:16]


def own_method(name: str, settings: OptimiserSettings, seeds: int) -> Method:
    """A method of the project; its results depend on all of deft_cem.optimisers."""
    code = tuple(path.read_text(encoding='utf-8') for path in sorted(OPTIMISERS.glob('*.py')))
    return Method(
        name,
        lambda seed: OwnSearch(settings, seed),
        seeds,
        sources=(*code, settings.method, json.dumps(settings.parameters, sort_keys=True)),
    )


def ablation_method(name: str, seeds: int) -> Method:
    """An ablation; its results depend on its own module and on all of deft_cem.optimisers."""
    code = tuple(path.read_text(encoding='utf-8') for path in sorted(OPTIMISERS.glob('*.py')))
    own = (Path(__file__).parent / 'ablations.py').read_text(encoding='utf-8')
    return Method(name, ABLATIONS[name], seeds, sources=(*code, own))


def peer_method(name: str, seeds: int, step: int = 1) -> Method:
    """A peer; its results depend on its wrapper and the version of its package."""
    make, package = PEERS[name]
    wrapper = (Path(__file__).parent / 'peers.py').read_text(encoding='utf-8')
    return Method(
        name,
        lambda seed: make(DIMENSION, seed),
        seeds,
        step,
        sources=(wrapper, importlib.metadata.version(package)),
    )


def looked_at(step: int) -> list[int]:
    """Episodes after which the recommendation is valued: every so many of them."""
    return list(range(step, DEFAULT_EPISODES + 1, step))


def run(method: Method, family: str, seed: int, *, heavy: bool) -> dict[str, Any]:
    """One session of 30 episodes.

    Scores, jitter and object poses depend on seed and family only, so that methods are paired.

    Args:
        method: Who searches.
        family: Of the landscape.
        seed: Of landscape, noise and search.
        heavy: Heavily noisy scores.

    Returns:
        True reward of the recommendation after the episodes of `looked_at`, and the duration
        of asking and telling, per episode after the warm-up. [ms].
    """
    landscape = make_landscape(family, seed)
    search = method.make(seed)
    rng = np.random.default_rng([seed, int(family[1:]), 2])
    values, updates = [], []
    watched = set(looked_at(method.step))
    for episode in range(1, DEFAULT_EPISODES + 1):
        start = time.perf_counter()
        z = search.ask()
        asked = time.perf_counter() - start
        reward = landscape.score(z, rng, heavy=heavy)
        start = time.perf_counter()
        search.tell(reward)
        told = time.perf_counter() - start
        if episode in watched:
            values.append(landscape.value(search.recommendation))
        if episode > DEFAULT_WARM_UP:
            updates.append(1e3 * (asked + told))
    return {'values': values, 'update_ms': updates}


def collect(method: Method, deadline: float) -> tuple[dict[str, Any], bool]:
    """Run what is not kept yet, until the deadline.

    Args:
        method: Who searches.
        deadline: On the monotonic clock; no landscape is begun after it. [s].

    Returns:
        Kept results by '<noise> <family>': values (seeds, episodes) and update_ms (seeds,
        episodes after the warm-up); and whether they are complete.
    """
    path = KEPT / f'{method.name}_{method.fingerprint}.json'
    kept: dict[str, Any] = {}
    if path.exists():
        kept = json.loads(path.read_text(encoding='utf-8'))
    for key, noise, family in _parts():
        part = kept.setdefault(key, {'values': [], 'update_ms': []})
        done = len(part['values'])
        if done >= method.seeds:
            continue
        for seed in range(done, method.seeds):
            if time.monotonic() > deadline:
                _keep(path, kept)
                return kept, False
            result = run(method, family, seed, heavy=noise == 'heavy')
            part['values'].append(result['values'])
            part['update_ms'].append(result['update_ms'])
        _keep(path, kept)
    # Fewer seeds than are kept may be asked for.
    cut = {
        key: {name: rows[: method.seeds] for name, rows in part.items()}
        for key, part in kept.items()
    }
    return cut, True


def _parts() -> Iterator[tuple[str, str, str]]:
    for noise in NOISES:
        for family in (*FAMILIES, *EDGES):
            yield f'{noise} {family}', noise, family


def _keep(path: Path, kept: Mapping[str, Any]) -> None:
    """Write whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix('.part')
    unfinished.write_text(json.dumps(kept), encoding='utf-8')
    unfinished.replace(path)
