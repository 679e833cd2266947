"""Which patients, studies, series and instances are there, and where are their bytes?"""

from domain.instance import InstanceMoved, InstanceReplaced, InstanceStored
from projections.catalogue import due
from projections.catalogue.apply import keep, move
from projections.catalogue.tables import TABLES
from projections.engine import Projection

CATALOGUE = Projection(
    "catalogue", 6, TABLES + due.TABLES, {InstanceStored: keep, InstanceReplaced: keep, InstanceMoved: move}
)
