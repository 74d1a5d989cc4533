"""Which function carries out which attack of the table, in its order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.attacks import by_sources, by_stores, by_writers

ACTS: dict[str, Callable[[Path], None]] = {
    "read with a writer's credential": by_writers.read_with_a_credential,
    "open its own pack": by_writers.open_its_own_pack,
    "forget with a writer's credential": by_writers.forget_with_a_credential,
    "forged tombstone": by_writers.forged_tombstone,
    "squatted tombstone": by_writers.squatted_tombstone,
    "planted content": by_writers.planted_content,
    "forged index run": by_writers.forged_index_run,
    "squatted decision": by_writers.squatted_decision,
    "forged copy of a decision": by_writers.forged_copy_of_a_decision,
    "forged revocation": by_writers.forged_revocation,
    "forged prune round": by_writers.forged_prune_round,
    "forged damage list": by_writers.forged_damage_list,
    "forged certificate": by_writers.forged_certificate,
    "exhausted numbers": by_writers.exhausted_numbers,
    "forged access policy": by_writers.forged_access_policy,
    "forged release": by_writers.forged_release,
    "crowded history": by_writers.crowded_history,
    "taken names": by_writers.taken_names,
    "revoked and still writing": by_writers.revoked_and_still_writing,
    "certified by itself": by_writers.certified_by_itself,
    "planted twins": by_writers.planted_twins,
    "stopped revocation": by_writers.stopped_revocation,
    "replayed metadata": by_stores.replayed_metadata,
    "lost decision": by_stores.lost_decision,
    "truncated metadata": by_stores.truncated_metadata,
    "exchanged header": by_stores.exchanged_header,
    "older keyring": by_stores.older_keyring,
    "packs swapped between vaults": by_stores.swapped_between_vaults,
    "packs swapped within a vault": by_stores.swapped_within_a_vault,
    "rolled back store": by_stores.rolled_back_store,
    "impossible key slot": by_stores.impossible_key_slot,
    "decompression bomb in an object": by_writers.bomb_in_an_object,
    "decompression bomb in a segment": by_sources.bomb_in_a_segment,
    "path traversal": by_sources.path_traversal,
    "through a symlink": by_sources.through_a_symlink,
    "absurd sizes": by_sources.absurd_sizes,
    "endless tree": by_sources.endless_tree,
    "names for terminals": by_sources.names_for_terminals,
}
