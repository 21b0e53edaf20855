//! `audit.html` from the numbers of a report; nothing is computed here.

use super::report::AuditReport;

/// The page.
pub fn html(report: &AuditReport) -> String {
    format!("<!doctype html><title>{}</title>", report.audited().identity.name)
}
