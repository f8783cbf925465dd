"""The life of an engine: its phases, the moves between them, and what it is told when it begins."""

from dataclasses import dataclass
from enum import Enum

from disbatch.core.messages import NO_MEANS, Means


class Phase(Enum):
    JOINING = "signed in, per-engine commands not known"
    SETTING_UP = "runs the START commands"
    WORKING = "takes tasks"
    ENDING = "waits for what runs, takes nothing"
    CLEANING = "runs the STOP commands"
    LEAVING = "waits until its last reports are acknowledged"
    GONE = "has said good-bye"


ALLOWED_MOVES = {
    Phase.JOINING: {Phase.SETTING_UP, Phase.WORKING, Phase.ENDING},
    Phase.SETTING_UP: {Phase.WORKING, Phase.ENDING},
    Phase.WORKING: {Phase.ENDING},
    Phase.ENDING: {Phase.CLEANING, Phase.LEAVING},
    Phase.CLEANING: {Phase.LEAVING},
    Phase.LEAVING: {Phase.GONE},
    Phase.GONE: set(),
}


@dataclass(frozen=True, slots=True)
class EngineConfig:
    sid: str
    rank: int
    node: str
    slots: int
    grace_s: float  # between TERM and KILL, and for STOP commands of a run that is being killed
    means: Means = NO_MEANS
    lease_s: float = 300.0  # how long it may go on without an answer of the driver
