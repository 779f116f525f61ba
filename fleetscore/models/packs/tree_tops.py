"""The upper nodes of large trees, compiled: as many as bit vectors have room for."""

from __future__ import annotations

from typing import Any

import numpy as np

from fleetscore.models.packs.compiled import compiled

TOP_LEAVES = 64  # ways out of the upper nodes


@compiled
def upper_nodes(tree_nodes: Any, feature: Any, code: Any, span: Any, flags: Any) -> Any:
    """Return each tree's uppermost nodes, level by level as many as have TOP_LEAVES ways out, as trees of
    the same form.

    First comes where each tree's nodes begin [trees + 1], then feature, code, span and flags of the nodes.
    The last two say where each way out leads, among a walk's nodes (see tree_walk.fill_nodes), from left to
    right and tree after tree; and the level [trees] of the first node that is left out, or a larger number.
    """
    trees, size = tree_nodes.size - 1, feature.size
    begins, levels = np.zeros(trees + 1, np.int32), np.empty(trees, np.int64)
    chosen, spans = np.empty(size, np.int64), np.empty(size, np.uint32)
    exits = np.empty(size + trees, np.uint32)
    upper = np.zeros(size, np.bool_)
    room = np.empty((4, 2 * TOP_LEAVES), np.int64)
    for t in range(trees):
        begin, end = np.int64(tree_nodes[t]), np.int64(tree_nodes[t + 1])
        levels[t] = choose_upper(begin, end, span, upper, room)
        at = np.int64(begins[t])
        begins[t + 1] = at + number_exits(begin, end, span, upper, room, chosen[at:], spans[at:], exits[at + t :])  # fmt: skip
    kept = chosen[: begins[trees]]
    return begins, feature[kept], code[kept], spans[: kept.size], flags[kept], exits, levels


@compiled
def choose_upper(begin: int, end: int, span: Any, upper: Any, room: Any) -> int:
    """Mark the uppermost nodes of the tree from node `begin` to `end`; returns the level of the first
    other.
    """
    nodes, leaves, level = room[0], room[1], room[2]
    taken, known = 0, 0
    if end > begin:
        nodes[0], leaves[0], level[0], known = begin, end - begin + 1, 0, 1
    while taken < known and taken < TOP_LEAVES - 1:
        node, below, here = nodes[taken], leaves[taken], np.int64(span[nodes[taken]])
        upper[node] = True
        if here > 1:
            nodes[known], leaves[known], level[known] = node + 1, here, level[taken] + 1
            known += 1
        if below - here > 1:
            nodes[known], leaves[known], level[known] = node + here, below - here, level[taken] + 1
            known += 1
        taken += 1
    return int(level[taken]) if taken < known else end - begin


@compiled
def number_exits(
    begin: int, end: int, span: Any, upper: Any, room: Any, chosen: Any, spans: Any, exits: Any
) -> int:
    """Fill `chosen` with the marked nodes in preorder, `spans` with the number of exits on their left, and
    `exits` with the places that those lead to; returns the number of chosen nodes.
    """
    nodes, leaves, places, parents = room[0], room[1], room[2], room[3]
    nodes[0], leaves[0], places[0], parents[0] = begin, end - begin + 1, 0, -1
    open_nodes, count, ended = 1, 0, 0
    while open_nodes > 0:
        open_nodes -= 1
        node, below, place, parent = nodes[open_nodes], leaves[open_nodes], places[open_nodes], parents[open_nodes]  # fmt: skip
        if parent >= 0:  # a right child: all exits of its parent's left are numbered
            spans[parent] = ended - np.int64(spans[parent])
        if below == 1 or not upper[node]:
            exits[ended] = place
            ended += 1
            continue
        here = np.int64(span[node])
        chosen[count], spans[count] = node, ended
        nodes[open_nodes], leaves[open_nodes] = node + here, below - here
        places[open_nodes], parents[open_nodes] = place + 2 * here, count
        open_nodes += 1
        nodes[open_nodes], leaves[open_nodes], places[open_nodes], parents[open_nodes] = node + 1, here, place + 1, -1  # fmt: skip
        open_nodes += 1
        count += 1
    return count
