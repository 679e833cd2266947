"""Which patients, studies, series and instances are there, and where are their bytes?"""

from domain.instance import InstanceMoved, InstanceReplaced, InstanceStored
from domain.storage import StorageAdded, StorageRemoved, StorageWithdrawn
from projections.catalogue import due, withdrawn
from projections.catalogue.apply import keep, move
from projections.catalogue.tables import TABLES
from projections.engine import Projection

CATALOGUE = Projection(
    "catalogue",
    8,
    TABLES + due.TABLES + withdrawn.TABLES,
    {
        InstanceStored: keep,
        InstanceReplaced: keep,
        InstanceMoved: move,
        StorageAdded: withdrawn.restore,
        StorageRemoved: withdrawn.withdraw,
        StorageWithdrawn: withdrawn.withdraw_step,
    },
)
