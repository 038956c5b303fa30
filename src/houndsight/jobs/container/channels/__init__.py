"""A job's input channels: which objects belong to them, kept once, seen by each job privately."""

from houndsight.jobs.container.channels.cache import ChannelCache
from houndsight.jobs.container.channels.selection import Item, select, shard
from houndsight.jobs.container.channels.view import ChannelView, make_view

__all__ = ["ChannelCache", "ChannelView", "Item", "make_view", "select", "shard"]
