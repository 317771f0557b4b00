//! Deep storage: a small object goes there and back.

use sarsen_object::probe::{ProbeError, Trouble, round_trip};
use sarsen_object::{Location, StoreKind, Stores};

use super::check::{Checks, Found, LIMIT};
use super::folders::folder_of;
use super::subject::Subject;

pub fn add(subject: &Subject, checks: &mut Checks) {
    let Some(place) = subject.deep_storage.clone() else {
        return;
    };
    // The check itself has a time limit; what failed once is worth telling.
    let mut settings = subject.objects.clone();
    settings.object_retries = 0;
    let location: Location = match place.parse() {
        Ok(location) => location,
        Err(error) => {
            let error: sarsen_object::ObjectError = error;
            let found = Found::fail(error.to_string(), "correct --deep-storage");
            checks.add("deep storage", async { found });
            return;
        }
    };
    if location.kind != StoreKind::Local {
        checks.add(
            "deep storage",
            async move { there_and_back(settings, location).await },
        );
        return;
    }
    let folder = std::path::PathBuf::from(&location.key);
    let checked = folder.clone();
    checks.add_blocking("deep storage folder", move || {
        folder_of("--deep-storage", &checked)
    });
    // A folder that is still to be made would be made by opening it.
    if folder.is_dir() {
        checks.add(
            "deep storage",
            async move { there_and_back(settings, location).await },
        );
    }
}

async fn there_and_back(settings: sarsen_object::ObjectSettings, location: Location) -> Found {
    let stores = Stores::new(settings);
    let limit = LIMIT.mul_f32(0.9);
    match round_trip(&stores, &location, limit).await {
        Ok(()) => Found::ok(format!(
            "{location}: an object was written, read, listed and removed"
        )),
        Err(error) => Found::fail(format!("{location}: {error}"), advice(&location, &error)),
    }
}

fn advice(location: &Location, error: &ProbeError) -> String {
    let whose = match location.kind {
        StoreKind::S3 => {
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a web identity, or the instance's role"
        }
        StoreKind::Google => "GOOGLE_SERVICE_ACCOUNT, the application default credentials, or the instance's",
        StoreKind::Azure => {
            "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or the instance's identity"
        }
        StoreKind::Local => "the user that the process runs as",
    };
    let step = error.step;
    match error.trouble {
        Trouble::Credentials => format!("give credentials that are known there and have not ended: {whose}"),
        Trouble::Forbidden => format!("let these credentials {step} below {location}: {whose}"),
        Trouble::NoBucket => format!("make the bucket `{}`, or correct --deep-storage", location.bucket),
        Trouble::Unreachable => {
            "see whether the endpoint is right (--s3-endpoint, --google-endpoint, --azure-endpoint), is up, and can be reached \
             from here"
                .to_owned()
        }
        Trouble::Clock => "synchronise this machine's clock: signatures are refused".to_owned(),
        Trouble::Slow => "see whether the endpoint is up and can be reached from here".to_owned(),
        Trouble::Other if location.kind == StoreKind::Local => {
            format!("let {whose} read and write in {location}")
        }
        Trouble::Other => "the store's own words say what is wrong; see its flags in docs/operations.md".to_owned(),
    }
}
