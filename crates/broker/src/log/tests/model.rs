//! Random work on a log, compared with a model.
