//! The test that an `async fn` stands for.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Error, ItemFn, MetaNameValue, Token};

/// The settings that there are, each a method of `Testbed`.
const SETTINGS: [&str; 9] =
    ["manifests", "cluster", "scenario", "faults", "nodes", "profile", "seed", "seeds", "ready_within"];

/// The test that `function` with these `settings` stands for.
pub fn expand(settings: Tokens, function: Tokens) -> Result<Tokens, Error> {
    let calls = calls_of(settings)?;
    let ItemFn { attrs, vis, sig, block, .. } = syn::parse2(function)?;
    if sig.asyncness.is_none() {
        return Err(Error::new_spanned(sig.fn_token, "a test in a simulated cluster is an `async fn`"));
    }
    if !sig.generics.params.is_empty() {
        return Err(Error::new_spanned(sig.generics, "a test has no generic parameters"));
    }
    let (name, inputs, output) = (&sig.ident, &sig.inputs, &sig.output);
    let body = match inputs.len() {
        0 => quote!(|_: ::hopwise::testing::Lab| __body()),
        1 => quote!(__body),
        _ => return Err(Error::new_spanned(inputs, "a test takes a `hopwise::testing::Lab`, or nothing")),
    };
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() {
            async fn __body(#inputs) #output #block
            ::hopwise::testing::Testbed::new()#calls.run(&::hopwise::__here!(#name), #body);
        }
    })
}

/// The settings as method calls.
fn calls_of(settings: Tokens) -> Result<Tokens, Error> {
    let settings = Punctuated::<MetaNameValue, Token![,]>::parse_terminated.parse2(settings)?;
    let mut calls = Tokens::new();
    for MetaNameValue { path, value, .. } in settings {
        let Some(name) = path.get_ident().filter(|name| SETTINGS.iter().any(|known| *name == known)) else {
            let known = SETTINGS.map(|name| format!("`{name}`")).join(", ");
            return Err(Error::new_spanned(path, format!("no such setting; there are {known}")));
        };
        calls.extend(quote!(.#name(#value)));
    }
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(settings: Tokens, function: Tokens) -> Result<String, String> {
        expand(settings, function).map(|tokens| tokens.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_become_calls_and_attributes_stay() {
        let text = expanded(
            quote!(manifests = ["a.yaml"], seeds = 0..3),
            quote!(
                #[ignore]
                async fn name(lab: Lab) -> Result<(), E> {
                    Ok(())
                }
            ),
        );
        let text = text.expect("it is sound");
        assert!(text.contains(". manifests ([\"a.yaml\"]) . seeds (0 .. 3) . run"), "{text}");
        assert!(text.contains("# [ignore]"), "{text}");
        assert!(text.contains("async fn __body (lab : Lab) -> Result < () , E >"), "{text}");
    }

    #[test]
    fn what_is_no_test_is_refused_in_words() {
        let cases = [
            (
                quote!(),
                quote!(
                    fn name() {}
                ),
                "a test in a simulated cluster is an `async fn`",
            ),
            (
                quote!(),
                quote!(
                    async fn name(a: Lab, b: Lab) {}
                ),
                "a test takes a `hopwise::testing::Lab`, or nothing",
            ),
            (
                quote!(),
                quote!(
                    async fn name<T>(a: T) {}
                ),
                "a test has no generic parameters",
            ),
        ];
        for (settings, function, why) in cases {
            assert_eq!(expanded(settings, function), Err(why.to_owned()));
        }
        let unknown = expanded(
            quote!(node = 3),
            quote!(
                async fn name() {}
            ),
        )
        .expect_err("there is no such setting");
        assert!(unknown.starts_with("no such setting; there are `manifests`"), "{unknown}");
    }
}
