//! What service-center checks of parameters, with its very words: clients and their users read them.

use super::model::{Instance, Service};
use super::reply::Error;

/// Schemas a service may declare.
const SCHEMAS_MAX: usize = 100;
/// Largest part of a version.
const VERSION_PART_MAX: u32 = 32_767;

/// Bounds and form of one field, printed as the server prints them.
#[derive(Clone, Copy)]
struct Rule {
    min: usize,
    max: usize,
    form: Option<Form>,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Name,
    NameOrAlias,
    Version,
    Environment,
    Level,
    ServiceStatus,
    RegisteredBy,
    Alias,
    Id,
    InstanceStatus,
    InstanceStatusOrNone,
    CheckMode,
    NotBlank,
    SimpleName,
    SimpleNameOrNone,
    SchemaId,
    SchemaIdOfAnyLength,
    Summary,
    Path,
    Tag,
}

const fn rule(min: usize, max: usize, form: Form) -> Rule {
    Rule { min, max, form: Some(form) }
}

const ENVIRONMENT: Rule = rule(0, 0, Form::Environment);
const APP: Rule = rule(1, 160, Form::Name);
const NAME_OR_ALIAS: Rule = rule(1, 289, Form::NameOrAlias);
const SERVICE_ID: Rule = rule(1, 64, Form::Id);
const INSTANCE_ID: Rule = rule(1, 64, Form::SimpleNameOrNone);
const SCHEMA_ID: Rule = rule(1, 160, Form::SchemaIdOfAnyLength);

/// A service to be registered.
pub(super) fn service(service: &Service) -> Result<(), Error> {
    let field = |name: &str, value: &str, rule| check(&format!("MicroService.{name}"), value, rule);
    field("ServiceId", &service.service_id, rule(0, 64, Form::Id))?;
    field("AppId", &service.app_id, rule(0, 160, Form::Name))?;
    field("ServiceName", &service.service_name, rule(1, 128, Form::Name))?;
    field("Version", &service.version, rule(0, 64, Form::Version))?;
    field("Description", &service.description, Rule { min: 0, max: 256, form: None })?;
    field("Level", &service.level, rule(0, 0, Form::Level))?;
    schemas(&service.schemas)?;
    for path in &service.paths {
        check("ServicePath.Path", &path.path, rule(0, 0, Form::Path))?;
    }
    field("Status", &service.status, rule(0, 0, Form::ServiceStatus))?;
    field("Alias", &service.alias, rule(0, 128, Form::Alias))?;
    field("Environment", &service.environment, ENVIRONMENT)?;
    field("RegisterBy", &service.register_by, rule(0, 64, Form::RegisteredBy))?;
    if let Some(framework) = &service.framework {
        check("FrameWork.Name", &framework.name, rule(0, 64, Form::Name))?;
        check("FrameWork.Version", &framework.version, Rule { min: 0, max: 64, form: None })?;
    }
    Ok(())
}

fn schemas(ids: &[String]) -> Result<(), Error> {
    let limits = rule(0, SCHEMAS_MAX, Form::SchemaId);
    if ids.len() > SCHEMAS_MAX {
        return Err(mismatch("MicroService.Schemas", &format!("[{}]", ids.join(" ")), limits));
    }
    match ids.iter().find(|id| !Form::SchemaId.matches(id)) {
        Some(id) => Err(mismatch("MicroService.Schemas", id, limits)),
        None => Ok(()),
    }
}

/// An instance to be registered.
pub(super) fn instance(instance: Option<&Instance>) -> Result<(), Error> {
    let Some(instance) = instance else { return Err(nil("RegisterInstanceRequest.Instance")) };
    let field = |name: &str, value: &str, rule| check(&format!("MicroServiceInstance.{name}"), value, rule);
    field("InstanceId", &instance.instance_id, rule(0, 64, Form::SimpleNameOrNone))?;
    field("ServiceId", &instance.service_id, SERVICE_ID)?;
    for endpoint in &instance.endpoints {
        field("Endpoints", endpoint, rule(0, 0, Form::NotBlank))?;
    }
    field("HostName", &instance.host_name, rule(1, 64, Form::NotBlank))?;
    field("Status", &instance.status, rule(0, 0, Form::InstanceStatusOrNone))?;
    if let Some(health) = &instance.health_check {
        check("HealthCheck.Mode", &health.mode, rule(0, 0, Form::CheckMode))?;
        number("HealthCheck.Port", health.port, 0, i64::from(u16::MAX))?;
        number("HealthCheck.Interval", health.interval, 1, i64::from(i32::MAX))?;
        number("HealthCheck.Times", health.times, 0, i64::from(i32::MAX))?;
        check("HealthCheck.Url", &health.url, rule(0, 0, Form::Id))?;
    }
    if let Some(center) = &instance.data_center_info {
        check("DataCenterInfo.Name", &center.name, rule(1, 128, Form::SimpleName))?;
        check("DataCenterInfo.Region", &center.region, rule(1, 128, Form::SimpleName))?;
        check("DataCenterInfo.AvailableZone", &center.available_zone, rule(1, 128, Form::SimpleName))?;
    }
    Ok(())
}

/// A key that services are looked for by, in a request of this type.
pub(super) fn search_key(request: &str, environment: &str, app: &str, name: &str) -> Result<(), Error> {
    check(&format!("{request}.Environment"), environment, ENVIRONMENT)?;
    app_and_name(request, app, name)
}

fn app_and_name(request: &str, app: &str, name: &str) -> Result<(), Error> {
    check(&format!("{request}.AppId"), app, APP)?;
    check(&format!("{request}.ServiceName"), name, NAME_OR_ALIAS)
}

/// The same in a find, which looks at the environment last.
pub(super) fn find_key(environment: &str, app: &str, name: &str) -> Result<(), Error> {
    app_and_name("FindInstancesRequest", app, name)?;
    check("FindInstancesRequest.Environment", environment, ENVIRONMENT)
}

/// The version of an existence check.
pub(super) fn existence_version(version: &str) -> Result<(), Error> {
    check("GetExistenceRequest.Version", version, rule(1, 64, Form::Version))
}

/// The version rule that 1.x demands of a find.
pub(super) fn version_rule_given(version: &str) -> Result<(), Error> {
    check("FindInstancesRequest.VersionRule", version, Rule { min: 1, max: 128, form: None })
}

/// The consumer a request names in its header.
pub(super) fn consumer(request: &str, id: &str) -> Result<(), Error> {
    check(&format!("{request}.ConsumerServiceId"), id, rule(0, 64, Form::Id))
}

/// Service and instance of a request of this type.
pub(super) fn instance_key(request: &str, service: &str, instance: &str) -> Result<(), Error> {
    check(&format!("{request}.ServiceId"), service, SERVICE_ID)?;
    check(&format!("{request}.InstanceId"), instance, INSTANCE_ID)
}

/// Who asks for which instance.
pub(super) fn one_instance(consumer_id: &str, service: &str, instance: &str) -> Result<(), Error> {
    consumer("GetOneInstanceRequest", consumer_id)?;
    check("GetOneInstanceRequest.ProviderServiceId", service, SERVICE_ID)?;
    check("GetOneInstanceRequest.ProviderInstanceId", instance, INSTANCE_ID)
}

/// The status of a status change.
pub(super) fn new_status(status: &str) -> Result<(), Error> {
    check("UpdateInstanceStatusRequest.Status", status, rule(0, 0, Form::InstanceStatus))
}

/// Service and schema of a request of this type.
pub(super) fn schema_key(request: &str, service: &str, schema: &str) -> Result<(), Error> {
    check(&format!("{request}.ServiceId"), service, SERVICE_ID)?;
    check(&format!("{request}.SchemaId"), schema, SCHEMA_ID)
}

/// Content of a schema to be stored.
pub(super) fn schema_content(schema: &str, summary: &str) -> Result<(), Error> {
    check("ModifySchemaRequest.Schema", schema, Rule { min: 1, max: 0, form: None })?;
    check("ModifySchemaRequest.Summary", summary, rule(0, 128, Form::Summary))
}

/// A key or value of a tag.
pub(super) fn tag(text: &str) -> Result<(), Error> {
    check("AddServiceTagsRequest.Tags", text, rule(0, 100, Form::Tag))
}

/// The new value of a tag.
pub(super) fn tag_value(text: &str) -> Result<(), Error> {
    check("UpdateServiceTagRequest.Value", text, rule(0, 0, Form::Tag))
}

/// An object that is missing.
pub(super) fn nil(field: &str) -> Error {
    mismatch(field, "<nil>", Rule { min: 1, max: 0, form: None })
}

fn check(field: &str, value: &str, rule: Rule) -> Result<(), Error> {
    let long_enough = value.len() >= rule.min;
    let short_enough = rule.max == 0 || value.chars().count() <= rule.max;
    let well_formed = rule.form.is_none_or(|form| form.matches(value));
    if long_enough && short_enough && well_formed { Ok(()) } else { Err(mismatch(field, value, rule)) }
}

fn number(field: &str, value: i64, min: usize, max: i64) -> Result<(), Error> {
    if (i64::try_from(min).unwrap()..=max).contains(&value) {
        return Ok(());
    }
    Err(mismatch(field, &value.to_string(), Rule { min, max: usize::try_from(max).unwrap(), form: None }))
}

fn mismatch(field: &str, value: &str, rule: Rule) -> Error {
    Error::invalid(format!("field '{field}' invalid value '{value}' does not match rule: {rule}"))
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let min = (self.min != 0).then(|| format!("Min: {}", self.min));
        let max = (self.max != 0).then(|| format!("Max: {}", self.max));
        let form = self.form.map(|form| format!("Regexp: {}", form.text()));
        let parts: Vec<String> = [min, max, form].into_iter().flatten().collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

impl Form {
    /// The pattern as the server prints it.
    fn text(self) -> &'static str {
        match self {
            Self::Name => r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$",
            Self::NameOrAlias => r"^[a-zA-Z0-9]*$|^[a-zA-Z0-9][a-zA-Z0-9_\-.:]*[a-zA-Z0-9]$",
            Self::Version => "the form x[.y[.z]] where x y and z are 0-32767 range",
            Self::Environment => "^(development|testing|acceptance|production)*$",
            Self::Level => "^(FRONT|MIDDLE|BACK)$",
            Self::ServiceStatus => "^(UP|DOWN)?$",
            Self::RegisteredBy => "^(SDK|SIDECAR|PLATFORM)*$",
            Self::Alias => r"^[a-zA-Z0-9_\-.:]*$",
            Self::Id => r"^\S*$",
            Self::InstanceStatus => "^(UP|DOWN|STARTING|TESTING|OUTOFSERVICE)$",
            Self::InstanceStatusOrNone => "^(UP|DOWN|STARTING|TESTING|OUTOFSERVICE)?$",
            Self::CheckMode => "^(push|pull)$",
            Self::NotBlank => r"\S+",
            Self::SimpleName => "^[A-Za-z0-9_.-]+$",
            Self::SimpleNameOrNone => "^[A-Za-z0-9_.-]*$",
            Self::SchemaId => r"^[a-zA-Z0-9]{1,160}$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]{0,158}[a-zA-Z0-9]$",
            Self::SchemaIdOfAnyLength => r"^[a-zA-Z0-9]+$|^[a-zA-Z0-9][a-zA-Z0-9_\-.]*[a-zA-Z0-9]$",
            Self::Summary => "^[a-zA-Z0-9]*$",
            Self::Path => r"^[A-Za-z0-9.,?'\\/+&amp;%$#=~_\-@{}]*$",
            Self::Tag => r"^[a-zA-Z][a-zA-Z0-9_\-.]{0,63}$",
        }
    }

    fn matches(self, text: &str) -> bool {
        match self {
            Self::Name => is_name(text, "_-."),
            Self::NameOrAlias => is_name(text, "_-.:"),
            Self::Version => text.is_empty() || is_version(text),
            Self::Environment => is_repeated(text, &["development", "testing", "acceptance", "production"]),
            Self::Level => matches!(text, "FRONT" | "MIDDLE" | "BACK"),
            Self::ServiceStatus => matches!(text, "" | "UP" | "DOWN"),
            Self::RegisteredBy => is_repeated(text, &["SDK", "SIDECAR", "PLATFORM"]),
            Self::Alias => is_made_of(text, "_-.:"),
            Self::Id => !text.contains(char::is_whitespace),
            Self::InstanceStatus => matches!(text, "UP" | "DOWN" | "STARTING" | "TESTING" | "OUTOFSERVICE"),
            Self::InstanceStatusOrNone => text.is_empty() || Self::InstanceStatus.matches(text),
            Self::CheckMode => matches!(text, "push" | "pull"),
            Self::NotBlank => text.contains(|c: char| !c.is_whitespace()),
            Self::SimpleName => !text.is_empty() && is_made_of(text, "_.-"),
            Self::SimpleNameOrNone => is_made_of(text, "_.-"),
            Self::SchemaId => text.len() <= 160 && !text.is_empty() && is_name(text, "_-."),
            Self::SchemaIdOfAnyLength => !text.is_empty() && is_name(text, "_-."),
            Self::Summary => is_made_of(text, ""),
            Self::Path => is_made_of(text, r".,?'\/+&amp;%$#=~_-@{}"),
            Self::Tag => {
                text.len() <= 64
                    && text.starts_with(|c: char| c.is_ascii_alphabetic())
                    && is_made_of(text, "_-.")
            }
        }
    }
}

/// Letters and digits, with some others inside.
fn is_name(text: &str, inside: &str) -> bool {
    let at_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    is_made_of(text, inside) && at_end(text.chars().next()) && at_end(text.chars().last())
}

fn is_made_of(text: &str, others: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

fn is_repeated(mut text: &str, words: &[&str]) -> bool {
    while !text.is_empty() {
        let Some(rest) = words.iter().find_map(|word| text.strip_prefix(word)) else { return false };
        text = rest;
    }
    true
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let fits = |part: &&str| {
        part.bytes().all(|b| b.is_ascii_digit()) && part.parse::<u32>().is_ok_and(|n| n <= VERSION_PART_MAX)
    };
    parts.len() <= 4 && parts.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_take_what_they_say() {
        let cases = [
            (Form::Name, "a.b_c-d", true),
            (Form::Name, "x-", false),
            (Form::Version, "1.0.32767", true),
            (Form::Version, "1.0.32768", false),
            (Form::Version, "1.0.0.0.0", false),
            (Form::Environment, "testingtesting", true),
            (Form::Environment, "prod", false),
            (Form::Tag, "1", false),
            (Form::NotBlank, " ", false),
        ];
        for (form, text, taken) in cases {
            assert_eq!(form.matches(text), taken, "{text}");
        }
    }
}
