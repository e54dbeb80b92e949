//! The attribute `#[hopwise::test]`, which makes an ordinary test of an `async fn` that runs in a simulated cluster.
//!
//! What it means is described at `hopwise::testing`, which does the work: every `setting = value` of the attribute becomes a
//! call of the method of that name of `hopwise::testing::Testbed`, so that the compiler checks names and types where they stand.

mod expand;

use proc_macro::TokenStream;

/// Makes a test of an `async fn` that takes a `hopwise::testing::Lab`, or nothing.
///
/// ```ignore
/// #[hopwise::test(manifests = ["deploy/redpanda.yaml"], nodes = 3, seeds = 0..5)]
/// async fn every_broker_answers(lab: Lab) { ... }
/// ```
#[proc_macro_attribute]
pub fn test(settings: TokenStream, function: TokenStream) -> TokenStream {
    expand::expand(settings.into(), function.into()).unwrap_or_else(syn::Error::into_compile_error).into()
}
