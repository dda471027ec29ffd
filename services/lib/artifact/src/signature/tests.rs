use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn only_the_signed_manifest_passes() {
    let key = SigningKey::generate().unwrap();
    let signature = key.sign(b"manifest");
    assert_eq!(signature.key, key.public());
    verify(b"manifest", &signature).unwrap();

    assert!(verify(b"manifesto", &signature).is_err());
    let mut flipped = signature;
    flipped.bytes[5] ^= 1;
    assert!(verify(b"manifest", &flipped).is_err());
    let other = Signature {
        key: SigningKey::generate().unwrap().public(),
        ..signature
    };
    assert!(verify(b"manifest", &other).is_err());
    // A key of small order verifies many things under lax rules.
    let weak = Signature {
        key: PublicKey([0; 32]),
        bytes: [0; 64],
    };
    assert!(verify(b"manifest", &weak).is_err());
}

#[test]
fn the_bytes_that_are_signed_are_these() {
    let key = SigningKey(ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
    let raw = key.0.sign(b"decant-manifest-v1\n{}");
    assert_eq!(key.sign(b"{}").bytes, raw.to_bytes());
    // Without the prefix, a signature of the same bytes for another purpose would do.
    let bare = Signature {
        key: key.public(),
        bytes: key.0.sign(b"{}").to_bytes(),
    };
    assert!(verify(b"{}", &bare).is_err());
}

#[test]
fn keys_are_kept_in_files_that_only_their_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = SigningKey::generate().unwrap();
    key.save(&path).unwrap();
    assert_eq!(SigningKey::load(&path).unwrap().public(), key.public());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let other = SigningKey::generate().unwrap();
    assert_ne!(other.public(), key.public());
    let error = other.save(&path).unwrap_err().to_string();
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert_eq!(SigningKey::load(&path).unwrap().public(), key.public());
}

#[test]
fn what_is_no_key_file_is_refused_without_repeating_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let digits = "ab".repeat(32);
    for wrong in [
        String::new(),
        digits.clone(),
        format!("{SECRET}{}", &digits[1..]),
        format!("{SECRET}{}", digits.to_uppercase()),
        format!("{SECRET}{digits}\nmore"),
        format!("{SECRET}{}", digits.repeat(3)),
    ] {
        std::fs::write(&path, &wrong).unwrap();
        let error = SigningKey::load(&path).unwrap_err();
        assert!(matches!(error, KeyError::Content { .. }), "{error}");
        assert!(!format!("{error} {error:?}").contains("abab"), "{error:?}");
    }
    assert!(matches!(
        SigningKey::load(&folder.path().join("none")).unwrap_err(),
        KeyError::File { .. }
    ));
}

#[test]
fn a_secret_is_never_printed() {
    let key = SigningKey(ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
    let printed = format!("{key:?}");
    assert!(
        !printed.contains("0707") && !printed.contains("7, 7"),
        "{printed}"
    );
    assert!(printed.contains(&key.public().to_string()));
}
