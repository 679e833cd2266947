"""Every limit in one place. Sizes in bytes, times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of every door. Each is a setting ``[limits] name``; the defaults suit a hospital's archive.

    ``clients_max`` is how many devices may be registered, DICOM and WADO together; None for any number.
    ``new_studies_a_minute_max`` is how many studies one sender (AE title and address) may begin in a minute, counted by
    each receiving process for itself; 0 for any number.
    """

    clients_max: int | None = None
    new_studies_a_minute_max: int = 9_000
    study_senders_max: int = 1_024
    studies_remembered_max: int = 16_384
    licence_file_max: int = 64 * KIB

    associations_max: int = 64
    associations_per_address_max: int = 48
    unknown_peer_associations_max: int = 40
    unknown_peer_associations_per_address_max: int = 16
    tls_handshake_timeout_seconds: float = 5.0
    pdu_header_timeout_seconds: float = 5.0
    pdu_timeout_seconds: float = 10.0
    pdu_rate_min: int = 16 * KIB
    association_idle_timeout_seconds: float = 60.0
    dimse_timeout_seconds: float = 30.0
    send_timeout_seconds: float = 10.0
    artim_timeout_seconds: float = 1.0
    connect_timeout_seconds: float = 5.0
    associate_pdu_max: int = 128 * KIB
    pdu_max: int = 1 * MIB
    presentation_contexts_max: int = 128
    user_items_max: int = 256
    command_set_max: int = 64 * KIB
    identifier_max: int = 4 * MIB

    rejection_interval_seconds: float = 60.0
    rejection_peers_max: int = 64
    rejection_titles_max: int = 8
    names_max: int = 1024
    name_addresses_max: int = 64
    name_fresh_seconds: float = 60.0
    name_kept_seconds: float = 600.0
    name_wait_seconds: float = 2.0
    device_calls_a_minute_max: int = 5
    device_call_timeout_seconds: float = 10.0
    devices_renewed_seconds: float = 0.25
    devices_looked_up_seconds: float = 0.05

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
    query_remaining_max: int = 200
    sub_operations_max: int = 65_535

    commitment_references_max: int = 10_000
    commitment_body_max: int = 8 * MIB
    commitment_at_once_max: int = 200
    commitment_answer_seconds: float = 5.0
    commitment_decisions_max: int = 4
    commitment_reports_max: int = 4
    commitment_retry_seconds: float = 10.0
    commitment_retry_max_seconds: float = 3_600.0
    commitment_report_days: float = 7.0

    database_timeout_seconds: float = 4.0
    lock_timeout_seconds: float = 4.0
    commit_batch_max: int = 200
    append_attempts_max: int = 20
    read_lag_wait_seconds: float = 2.0
    projection_pace_seconds: float = 0.2
    projection_batch_max: int = 500
    lag_alarm_events: int = 1_000
    lag_alarm_seconds: float = 30.0

    derivation_rest_seconds: float = 3.0
    derivation_lease_seconds: float = 120.0
    derivation_attempts_max: int = 5
    derivation_backoff_seconds: float = 5.0
    derivation_backoff_max_seconds: float = 3_600.0

    certificate_file_max: int = 64 * KIB
    revocation_list_file_max: int = 4 * MIB
    revocations_max: int = 50_000
    certificate_expiry_warning_days: int = 30
    certificate_watch_seconds: float = 60.0
    rsa_key_bits_min: int = 2048
    ec_key_bits_min: int = 256
    demo_certificate_days: int = 365

    http_connections_max: int = 512
    http_connections_per_address_max: int = 256
    http_requests_max: int = 64
    http_requests_per_address_max: int = 48
    http_header_size_max: int = 64 * KIB
    http_url_max: int = 32 * KIB
    http_query_parameters_max: int = 1_000
    http_header_timeout_seconds: float = 10.0
    http_idle_timeout_seconds: float = 30.0
    http_send_timeout_seconds: float = 30.0
    http_body_rate_min: int = 4 * KIB
    parts_max: int = 100_000
    part_fields_size_max: int = 16 * KIB
    request_body_max: int = 128 * GIB
    request_body_timeout_seconds: float = 20.0
    request_body_piece: int = 512 * KIB
    parts_in_flight_max: int = 32
    store_threads_max: int = 16
    store_metadata_max: int = 8 * MIB
    metadata_inline_max: int = 1 * KIB
    metadata_value_max: int = 64 * KIB
    metadata_part_instances_max: int = 64
    metadata_part_max: int = 4 * MIB
    frames_a_request_max: int = 10_000
    ranges_max: int = 10

    port_wait_seconds: float = 10.0
    drain_timeout_seconds: float = 8.0
    health_probe_timeout_seconds: float = 3.0
    storage_free_min: int = 2 * GIB
    storage_check_seconds: float = 1.0
    storage_suspect_seconds: float = 30.0
    moved_file_grace_seconds: float = 60.0
    orphan_grace_seconds: float = 3_600.0
    withdrawal_step: int = 2_000
    scrub_rate_max: int = 100 * MIB
    scrub_days: float = 30.0
    scrub_start_seconds: float = 60.0
    scrub_noted_seconds: float = 3_600.0
    temp_free_min: int = 256 * MIB
    quarantine_files_max: int = 1_000
    quarantine_size_max: int = 1 * GIB
    pending_interval_seconds: float = 2.0

    decoded_side_max: int = 65_535
    decoded_frames_max: int = 1_000_000
    decoded_frame_max: int = 256 * MIB
    decoded_object_max: int = 64 * GIB
    decoded_ratio_max: int = 10_000
    codec_memory_max: int = 1 * GIB
    codec_cpu_seconds: int = 10
    codec_timeout_seconds: float = 30.0
    codec_idle_seconds: float = 60.0
    codec_processes_max: int = 16
    rendering_timeout_seconds: float = 10.0
    rendered_side_max: int = 4_096
    rendered_frames_max: int = 200
    rendered_pixels_max: int = 32 * MIB
    thumbnail_side: int = 256

    @property
    def work_drain_seconds(self) -> float:
        """How long work under way goes on in a drain; a process ends itself in the rest, before it would be killed."""
        return 0.75 * self.drain_timeout_seconds
