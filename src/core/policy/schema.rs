//! The Cedar schema, which is the product's own.

use std::sync::LazyLock;

use cedar_policy::Schema;

/// The schema's text.
pub const SCHEMA_TEXT: &str = include_str!("../../../policies/schema.cedarschema");

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant text, parsed by every test")]
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the built-in schema");
    schema
});

/// The schema.
pub fn schema() -> &'static Schema {
    &SCHEMA
}
