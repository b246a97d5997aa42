"""Tasks of a cross-validation: what is run, what it needs, and what it asks for; and the order that follows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from ser_nnunet.cluster.crossval_settings import Resources


@dataclass(frozen=True)
class Task:
    """One thing to run.

    Attributes:
        key: unique, and a relative path: `SERTrainer__nnUNetPlans__2d/fold_0`.
        group: tasks of one group need the same and ask for the same; they become one job array.
        name: of the task within its group, such as `0` for a fold.
        command: of the process that does it.
        shown: the command that a user would type.
        needs: keys of the tasks that must be done before.
        checkpoints: the training's folder, in which a run's progress can be seen; None for other tasks.
        predictions: the folder of a prediction's masks, by which its progress can be seen; None for other tasks.
    """

    key: str
    group: str
    name: str
    command: tuple[str, ...]
    shown: str
    resources: Resources
    needs: tuple[str, ...] = ()
    checkpoints: str | None = None
    predictions: str | None = None


def waves(tasks: Iterable[Task], absent: Collection[str] = ()) -> list[list[list[Task]]]:
    """Return the groups of tasks, wave by wave: a wave needs nothing but what the waves before it hold.

    Args:
        tasks: in any order.
        absent: keys of tasks that are done or run already, so that they are no longer waited for.

    Raises:
        ValueError: tasks need each other in a circle, or one that isn't there.
    """
    waiting: dict[str, list[Task]] = {}
    for task in tasks:
        waiting.setdefault(task.group, []).append(task)
    there, found = set(absent), []
    while waiting:
        ready = [name for name, group in waiting.items() if all(set(task.needs) <= there for task in group)]
        if not ready:
            raise ValueError(f"tasks that can never start: {', '.join(waiting)}")
        found.append([waiting.pop(name) for name in ready])
        there |= {task.key for group in found[-1] for task in group}
    return found


def held_up_by(task: Task, tasks: Mapping[str, Task], missing: Collection[str]) -> list[str]:
    """Return the keys among `missing` that a task needs, directly or through others."""
    found: list[str] = []
    for key in task.needs:
        found += [key] if key in missing else []
        found += held_up_by(tasks[key], tasks, missing) if key in tasks else []
    return list(dict.fromkeys(found))
