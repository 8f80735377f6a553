//! The sixteen Synthea bundles beside the project, read, checked, written and placed in their patients' compartments.
//!
//! Runs only where they are (`../shared/data/synthea`); says so and passes elsewhere.

#![allow(clippy::unwrap_used, clippy::panic, clippy::string_slice, clippy::arithmetic_side_effects, reason = "a test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bedside::fhir::{Json, Resource, ResourceType, in_patient_compartment, patients};
use bedside::time::UnixMillis;
use bedside::vitals::codes;

fn bundles() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/synthea");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: there is no {}", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ext| ext == "json"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// The text without the white space between its tokens: what is left is compared literally, numbers included.
fn compact(text: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    text.chars()
        .filter(|each| {
            let space = !inside && each.is_ascii_whitespace();
            if *each == '"' && !escaped {
                inside = !inside;
            }
            escaped = *each == '\\' && !escaped;
            !space
        })
        .collect()
}

/// The same with every escape in its shortest form, by way of serde_json for each string.
fn tokens(text: &str) -> String {
    let text = compact(text);
    let (mut out, mut rest) = (String::new(), text.as_str());
    while let Some(start) = rest.find('"') {
        let (before, string) = rest.split_at(start);
        let mut strings = serde_json::Deserializer::from_str(string).into_iter::<String>();
        let value = strings.next().unwrap().unwrap();
        out.push_str(before);
        out.push_str(&serde_json::to_string(&value).unwrap());
        rest = &string[strings.byte_offset()..];
    }
    out + rest
}

fn entries(bundle: &Resource) -> Vec<(String, Resource)> {
    bundle
        .values_at(&["entry"])
        .map(|entry| {
            let url = entry.get("fullUrl").and_then(Json::as_str).unwrap().to_owned();
            let mut json = String::new();
            entry.get("resource").unwrap().write(&mut json);
            (url, Resource::parse(json.as_bytes()).unwrap())
        })
        .collect()
}

#[test]
fn every_resource_is_read_and_written_as_it_was() {
    let mut count = 0;
    for (path, body) in bundles() {
        let bundle = Resource::parse(&body).unwrap_or_else(|invalid| panic!("{}: {invalid:?}", path.display()));
        assert_eq!(bundle.kind(), ResourceType::Bundle);
        assert_eq!(tokens(&bundle.to_json()), tokens(std::str::from_utf8(&body).unwrap()), "{}", path.display());
        for (_, resource) in entries(&bundle) {
            assert_eq!(Resource::parse(resource.to_json().as_bytes()).unwrap(), resource);
            count += 1;
        }
    }
    println!("{count} resources");
}

#[test]
fn every_resource_is_in_the_compartment_of_its_patient() {
    let mut kinds = BTreeSet::new();
    for (path, body) in bundles() {
        let bundle = Resource::parse(&body).unwrap();
        let entries = entries(&bundle);
        let places: std::collections::HashMap<String, String> = entries
            .iter()
            .map(|(url, resource)| (url.clone(), format!("{}/{}", resource.kind(), resource.id().unwrap())))
            .collect();
        let of_kind = |kind| entries.iter().filter(move |(_, each)| each.kind() == kind);
        let patient = of_kind(ResourceType::Patient).next().unwrap().1.id().unwrap().to_owned();
        for (_, resource) in &entries {
            let mut resource = resource.clone();
            resource.map_references(&mut |text| places.get(text).cloned());
            let found = patients(&resource);
            if in_patient_compartment(resource.kind()) {
                assert_eq!(found, [patient.as_str()], "{} {}", path.display(), resource.kind());
            } else {
                assert!(found.is_empty());
            }
            kinds.insert((resource.kind().as_str(), !found.is_empty()));
        }
    }
    println!("{kinds:?}");
}

#[test]
fn every_vital_sign_is_understood_as_if_it_were_of_now() {
    let (mut observations, mut readings) = (0, 0);
    for (path, body) in bundles() {
        for (_, mut resource) in entries(&Resource::parse(&body).unwrap()) {
            if resource.kind() != ResourceType::Observation {
                continue;
            }
            resource.map_references(&mut |text| text.strip_prefix("urn:uuid:").map(|id| format!("Patient/{id}")));
            let at = resource.str_at(&["effectiveDateTime"]).and_then(UnixMillis::parse_rfc3339);
            // Before 1970 is history whatever the clock says.
            let at = at.unwrap_or(UnixMillis(0));
            let charted = codes::read(&resource, at).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            readings += charted.map_or(0, |charted| charted.readings.len());
            observations += 1;
        }
    }
    println!("{readings} vital signs in {observations} Observations");
    assert!(observations == 0 || readings > 0);
}

#[test]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn throughput() {
    let bundles = bundles();
    let size: usize = bundles.iter().map(|(_, body)| body.len()).sum();
    if size == 0 {
        return;
    }
    let start = Instant::now();
    let rounds = 5;
    let mut written = 0;
    for _ in 0..rounds {
        for (_, body) in &bundles {
            written += Resource::parse(body).unwrap().to_json().len();
        }
    }
    let rate = (size * rounds) as f64 / start.elapsed().as_secs_f64() / 1e6;
    println!("parse and to_json: {rate:.0} MB/s of {size} bytes, {written} written");
}
