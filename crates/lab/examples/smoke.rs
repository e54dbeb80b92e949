//! smoke
use hopwise_kube::source::Source;
use hopwise_lab::{check, inputs::*, report::*};
fn main(){
    let files: Vec<String> = std::env::args().skip(4).collect();
    let cluster = std::env::args().nth(2).unwrap();
    let profile = std::env::args().nth(3).filter(|p| p != "-");
    let src = |f: &String| Source::new(f.as_str(), std::fs::read_to_string(f).unwrap().as_str());
    let sources: Vec<Source> = files.iter().map(src).collect();
    let s = Surroundings { cluster: (cluster != "-").then(|| src(&cluster)), profile, ..Default::default() };
    let inputs = match Inputs::load(&sources, &s) { Ok(i) => i, Err(e) => { println!("{:?}", miette::Report::from(e)); return } };
    let wall = std::time::Instant::now();
    let report = check::check(inputs, &check::CheckOptions::default()).unwrap();
    if std::env::args().nth(1).unwrap() == "json" { println!("{}", serde_json::to_string_pretty(&report).unwrap()); } else { println!("{}", check_text(&report, Paper{width:140,colour:false})); }
    eprintln!("wall {:?}", wall.elapsed());
}
