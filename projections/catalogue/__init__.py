"""Which patients, studies, series and instances are there, and where are their bytes?"""

from domain.instance import InstanceReplaced, InstanceStored
from projections.catalogue.apply import keep
from projections.catalogue.tables import TABLES
from projections.engine import Projection

CATALOGUE = Projection("catalogue", 2, TABLES, {InstanceStored: keep, InstanceReplaced: keep})
