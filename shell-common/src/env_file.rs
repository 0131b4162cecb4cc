//! The file `.env` of the working directory, or of the nearest directory above it that has one.

use crate::program::Failure;

/// Sets the variables in the file that are not set yet. It must be called before threads start. The
/// command line is looked through for `--no-env-file` here, because the file may contain options.
pub(crate) fn read(arguments: &[String]) -> Result<(), Failure> {
    let is_off = |value: String| !matches!(value.trim(), "" | "0" | "false" | "no" | "off");
    if arguments.iter().any(|argument| argument == "--no-env-file")
        || std::env::var("PGAI_NO_ENV_FILE").is_ok_and(is_off)
    {
        return Ok(());
    }
    match dotenvy::dotenv() {
        Ok(_) => Ok(()),
        Err(error) if error.not_found() => Ok(()),
        // The error itself may repeat a secret.
        Err(dotenvy::Error::LineParse(_, at)) => Err(Failure::Usage(format!(
            "the file .env: a line of it cannot be read (at character {at} of the line); put values with spaces \
             and special characters into single quotes, or give --no-env-file"
        ))),
        Err(error) => Err(Failure::Usage(format!(
            "the file .env cannot be read: {error}; --no-env-file ignores it"
        ))),
    }
}
