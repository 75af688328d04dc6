// What a guard file says about itself: its ONNX metadata, read without Python.
//
// `blurvote export` writes the entries blurvote.kind, blurvote.defense, blurvote.labels, ..., each a
// JSON text, into the model's metadata_props. A host gets them from its ONNX library, such as ONNX
// Runtime's ModelMetadata::LookupCustomMetadataMapAllocated, or, where the engine drops them
// (TensorRT does), from the file by read_onnx_metadata.
#pragma once

#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "blurvote/view_kind.h"
#include "blurvote/views.h"

namespace blurvote {

enum class Decision { majority, single, mean };

// Which views of a frame are classified, and how their labels become one verdict. Field by field
// blurvote.runtime.Defense, whose only border is "reflect".
struct Defense {
    ViewSpec spec;
    Decision decision = Decision::majority;
    std::optional<double> threshold;  // smallest mean softmax that Decision::mean accepts, in [0, 1]

    // A frame is noisy from the noise level noise_high on, one that follows a noisy one from noise_low
    // on: in [0, 1] RGB units, on the backbone's grid. It then has these views, as many as passes, and
    // noisy_threshold. Without noisy_views none is.
    std::vector<ViewKind> noisy_views;
    double noise_low = 0.02, noise_high = 0.025;
    std::optional<double> noisy_threshold;

    bool adaptive() const noexcept { return !noisy_views.empty(); }

    // The decision uses views first_view() .. last_view() - 1: all, or the single-blur view alone.
    int first_view() const noexcept;
    int last_view() const noexcept;
};

// Reads the entry blurvote.defense, which has every field, those of noisy frames from schema_version 2
// on. Throws std::invalid_argument, naming the
// field, what it is and what was expected, for anything that blurvote.runtime.Defense would refuse.
Defense parse_defense(const std::string& json);

// What denoises the views of an adaptive defence.
struct DenoiserEntry {
    std::string name;
    std::string sha256;  // of the file that it was made of, in hex
    std::string onnx;    // bytes of an ONNX model; see Guard for its input and output
};

// A guard of views: what the host needs beside a session.
struct GuardMetadata {
    Defense defense;
    std::vector<std::string> labels;  // class names in index order, UTF-8; empty where there are none
    std::optional<DenoiserEntry> denoiser;  // of every adaptive defence
};

// Reads the entries. Throws std::invalid_argument where one is missing or broken, for an adaptive
// defence without a denoiser, and for a guard of kind "frames": such a graph builds its views and
// votes by itself, and needs no code of ours.
GuardMetadata parse_metadata(const std::map<std::string, std::string>& entries);

// The metadata_props of an ONNX file, read in one pass that skips the weights. The stream is binary
// and can seek. Throws std::invalid_argument for what is not an ONNX file, or cannot be read.
std::map<std::string, std::string> read_onnx_metadata(std::istream& file);

}  // namespace blurvote
