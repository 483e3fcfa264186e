//! The targets: what is stored, what is received, what people type.

mod catalogue;
mod local;
mod objects;
mod packs;
mod sealed;
mod text;
mod wire;

use crate::Target;

const fn plain(name: &'static str, check: fn(&[u8]) -> bool, seeds: fn() -> Vec<Vec<u8>>) -> Target {
    Target { name, check, seeds, mend: None }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { mend: Some(objects::mend_frame), ..plain("object-frame", objects::frame, objects::frame_seeds) },
    plain("config", objects::config, objects::config_seeds),
    plain("key-slot", objects::slot, objects::slot_seeds),
    plain("machine-record", objects::machine, objects::machine_seeds),
    plain("epoch", objects::epoch, objects::epoch_seeds),
    plain("session-record", objects::session, objects::session_seeds),
    plain("recovery-point", objects::point, objects::point_seeds),
    plain("partial-point", objects::partial, objects::partial_seeds),
    plain("retention-record", objects::retention, objects::retention_seeds),
    plain("generation", objects::generation, objects::generation_seeds),
    plain("fence", objects::fence, objects::fence_seeds),
    plain("decision", objects::decision, objects::decision_seeds),
    plain("index-segment", objects::segment, objects::segment_seeds),
    plain("pack-header", packs::header, packs::header_seeds),
    plain("pack-footer", packs::footer, packs::footer_seeds),
    plain("pack-block", packs::block, packs::block_seeds),
    plain("pack-end", packs::end, packs::end_seeds),
    plain("hunk", catalogue::hunk, catalogue::hunk_seeds),
    plain("hunk-list", catalogue::hunk_list, catalogue::hunk_list_seeds),
    plain("content-list", catalogue::content_list, catalogue::content_list_seeds),
    plain("references-leaf", catalogue::leaf, catalogue::leaf_seeds),
    plain("references-root", catalogue::root, catalogue::root_seeds),
    plain("object-name", text::object_name, text::object_name_seeds),
    plain("key-text", text::key_text, text::key_text_seeds),
    plain("enrolment-token", text::token, text::token_seeds),
    plain("schedule", text::schedule, text::schedule_seeds),
    plain("exclude-patterns", text::excludes, text::excludes_seeds),
    plain("store-location", text::location, text::location_seeds),
    plain("wire-enrolment", wire::enrolment, wire::enrolment_seeds),
    plain("wire-desired", wire::desired, wire::desired_seeds),
    plain("wire-report", wire::report, wire::report_seeds),
    plain("wire-gateway", wire::gateway, wire::gateway_seeds),
    plain("control-line", wire::control, wire::control_seeds),
    plain("outbox", local::outbox, local::outbox_seeds),
    plain("agent-config", local::config, local::config_seeds),
    plain("usn", local::usn, local::usn_seeds),
];
