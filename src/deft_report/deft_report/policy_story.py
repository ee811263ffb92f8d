# SPDX-License-Identifier: Apache-2.0
"""Which policy a session deployed, and why, from what policy.json says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Candidate:
    """One policy that was trained and judged.

    Attributes:
        name: For people.
        error: Mean squared error on left-out elites, in variances of the first draw; a dash
            where it is not known.
        skill: Share of the error of the plain elite mean that it saves; a dash likewise.
        deployed: Whether it is the one that was used.
    """

    name: str
    error: str
    skill: str
    deployed: bool


@dataclass(frozen=True)
class PolicyStory:
    """What the report says of the policy.

    Attributes:
        name: Of the deployed policy, for people.
        reason: Why it was deployed, as a sentence; empty where that was not recorded.
        basis: On how much it was trained, as a sentence; empty likewise.
        candidates: What was compared, smallest error first; empty where nothing was.
    """

    name: str
    reason: str
    basis: str
    candidates: tuple[Candidate, ...]


def tell(policy: Mapping[str, Any] | None) -> PolicyStory | None:
    """Read what there is; older files say less, and the report shows less.

    Args:
        policy: Contents of policy.json; None without a policy.
    """
    if policy is None:
        return None
    kind = str(policy.get('kind', 'policy'))
    details = policy.get('details')
    details = details if isinstance(details, Mapping) else {}
    reason = details.get('reason')
    return PolicyStory(
        name=_words(kind),
        reason=_sentence(_words(reason)) if isinstance(reason, str) and reason else '',
        basis=_basis(policy, details),
        candidates=tuple(_candidates(kind, details)),
    )


def _basis(policy: Mapping[str, Any], details: Mapping[str, Any]) -> str:
    elites, practice = details.get('elite_episodes'), details.get('practice_episodes')
    if not isinstance(elites, list) or not isinstance(practice, int):
        return ''
    encoder = policy.get('encoder')
    eye = f', images seen through {encoder}' if isinstance(encoder, str) else ''
    return f'Trained on the {len(elites)} best of {practice} practice episodes{eye}.'


def _candidates(kind: str, details: Mapping[str, Any]) -> Iterator[Candidate]:
    listed = details.get('candidates')
    entries = (
        [entry for entry in listed if isinstance(entry, Mapping)]
        if isinstance(listed, list)
        else []
    )
    if not entries:
        error = details.get('left_out_error')
        skill = error.get('skill') if isinstance(error, Mapping) else None
        if skill is None:
            return
        entries = [{'kind': kind, 'skill': skill}]
    for entry in sorted(entries, key=_error):
        name = str(entry.get('kind', 'policy'))
        yield Candidate(
            name=_words(name),
            error=_number(entry.get('left_out_error'), '.3f'),
            skill=_number(entry.get('skill'), '+.2f'),
            deployed=name == kind,
        )


def _error(entry: Mapping[str, Any]) -> float:
    error = entry.get('left_out_error')
    return float(error) if isinstance(error, int | float) else float('inf')


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else '-'


def _words(name: str) -> str:
    return name.replace('_', ' ')


def _sentence(text: str) -> str:
    return f'{text[0].upper()}{text[1:]}'.rstrip('.') + '.'
