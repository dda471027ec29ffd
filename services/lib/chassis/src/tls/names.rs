//! What a certificate says of itself.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// The identities that a certificate holds: URIs as they are, such as SPIFFE's, then `dns:NAME` and `cn:NAME`.
pub fn identities(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let mut identities = Vec::new();
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        let uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        });
        identities.extend(uris);
        let hosts = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(host) => Some(format!("dns:{host}")),
            _ => None,
        });
        identities.extend(hosts);
    }
    let common = certificate.subject().iter_common_name();
    let common = common.filter_map(|name| name.as_str().ok());
    identities.extend(common.map(|name| format!("cn:{name}")));
    identities
}

/// When a certificate ends, in seconds since 1970.
pub(super) fn ends(certificate: &CertificateDer<'static>) -> Option<u64> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
}
