"""Which engines are no longer needed although the run goes on: the decision. `contexts.retirement` gives their nodes back.

A task that is lost with its engine has to find another one: those that still have tasks stay, and so do those whose node
cannot be given back anyway, as the driver's own. Where none of these is left, the run ends and can be resumed.
"""

from disbatch.core.fleet import Engine, EngineState, Fleet
from disbatch.core.ledger import Ledger


def no_longer_needed(fleet: Fleet, ledger: Ledger) -> list[Engine]:
    """Engines that can get no more work, of a run whose list has ended and that waits at no barrier.

    None while any task might still be handed out: one that is READY, withheld, held by an engine ahead of its slots (it can
    be recalled), or held by an engine that leaves or is not heard of (it may come back).
    """
    if not fleet.retires or ledger.waiting or ledger.withheld or not ledger.entries:
        return []
    idle: list[Engine] = []
    for engine in fleet.engines.values():
        stays = engine.state is EngineState.RUNNING and not engine.stop
        if engine.held:
            if not stays or engine.recalled or len(engine.held) > engine.slots:
                return []
        elif stays and engine.retires:
            idle.append(engine)
    return idle
