"""Every limit in one place. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of every door. Each is a setting ``[limits] name``; the defaults suit a hospital's archive."""

    associations_max: int = 64
    associations_per_address_max: int = 48
    associations_reserved_for_devices: int = 16
    unknown_peer_associations_max: int = 40
    tls_handshake_timeout_seconds: float = 5.0
    pdu_header_timeout_seconds: float = 5.0
    pdu_timeout_seconds: float = 10.0
    pdu_rate_min: int = 16 * KIB
    association_idle_timeout_seconds: float = 60.0
    dimse_timeout_seconds: float = 30.0
    send_timeout_seconds: float = 10.0
    connect_timeout_seconds: float = 5.0
    associate_pdu_max: int = 128 * KIB
    pdu_max: int = 1 * MIB
    presentation_contexts_max: int = 128
    user_items_max: int = 256
    command_set_max: int = 64 * KIB
    identifier_max: int = 4 * MIB
    descriptors_max: int = 900

    object_size_max: int = 64 * GIB
    header_size_max: int = 32 * MIB
    sequence_depth_max: int = 64
    sequence_items_max: int = 100_000
    elements_max: int = 100_000
    fragments_max: int = 1_000_000
    deflate_ratio_max: int = 4
    deflate_ratio_from: int = 64 * MIB
    inflated_size_max: int = 512 * MIB
    indexed_text_max: int = 1024
    indexed_items_max: int = 64
    indexed_sequences_max: int = 64 * KIB
    header_warnings_max: int = 20

    query_matches_max: int = 10_000
    query_keys_max: int = 512
    query_values_max: int = 64
    query_uids_max: int = 1_000
    query_text_max: int = 128
    query_timeout_seconds: float = 10.0
    query_page: int = 500
    sub_operations_max: int = 65_535

    database_timeout_seconds: float = 4.0
    lock_timeout_seconds: float = 4.0
    commit_batch_max: int = 200
    append_attempts_max: int = 20
    read_lag_wait_seconds: float = 2.0
    projection_pace_seconds: float = 0.2
    projection_batch_max: int = 500
    lag_alarm_events: int = 1_000
    lag_alarm_seconds: float = 30.0

    drain_timeout_seconds: float = 8.0
    incoming_grace_seconds: float = 60.0
    storage_free_min: int = 2 * GIB
    storage_check_seconds: float = 1.0
    storage_suspect_seconds: float = 30.0
    pending_interval_seconds: float = 2.0
