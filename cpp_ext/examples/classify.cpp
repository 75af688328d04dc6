// Classifies frames with a guard, in C++ from end to end. One verdict per line, separated by tabs:
//     frame  label  name or reason of rejection  confidence or -  votes of the views that ran
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include <blurvote/guard.h>

#include "frames.h"
#include "session.h"

namespace {

constexpr const char* kUsage =
    "usage: classify GUARD.onnx [--plan batched|cascade] [--threads N] [--raw WIDTHxHEIGHT:PIXELS] [FILE ...]\n"
    "Files hold PPM or PGM pictures, one or more, or raw video; - or no file is the standard input.\n";

struct Arguments {
    std::string guard;
    blurvote::Plan plan = blurvote::Plan::batched;
    int threads = 1;
    std::optional<RawFormat> raw;
    std::vector<std::string> files;
};

Arguments parse(int argc, char** argv) {
    Arguments arguments;
    for (int k = 1; k < argc; ++k) {
        const std::string word = argv[k];
        const bool option = word.size() > 1 && word[0] == '-';
        if (option && k + 1 == argc) throw std::invalid_argument(word + " needs a value, or is unknown\n" + kUsage);
        if (word == "--plan") {
            const std::string name = argv[++k];
            if (name != "batched" && name != "cascade") throw std::invalid_argument("--plan is batched or cascade");
            arguments.plan = name == "cascade" ? blurvote::Plan::cascade : blurvote::Plan::batched;
        } else if (word == "--threads") {
            arguments.threads = std::atoi(argv[++k]);
            if (arguments.threads < 1) throw std::invalid_argument("--threads is a number from 1 on");
        } else if (word == "--raw") {
            arguments.raw = parse_raw_format(argv[++k]);
        } else if (option) {
            throw std::invalid_argument("unknown option " + word + "\n" + kUsage);
        } else if (arguments.guard.empty()) {
            arguments.guard = word;
        } else {
            arguments.files.push_back(word);
        }
    }
    if (arguments.guard.empty()) throw std::invalid_argument(kUsage);
    if (arguments.files.empty()) arguments.files.push_back("-");
    return arguments;
}

void print(long frame, const blurvote::Verdict& verdict, const std::vector<std::string>& labels) {
    const auto label = static_cast<std::size_t>(verdict.label);
    std::string name = blurvote::rejection_name(verdict.reason);
    if (verdict.label != blurvote::kRejected && label < labels.size()) name = labels[label];
    std::printf("%ld\t%lld\t%s\t", frame, static_cast<long long>(verdict.label), name.c_str());
    verdict.confidence ? std::printf("%.6f\t", *verdict.confidence) : std::printf("-\t");
    for (int view = 0; view < verdict.views_run; ++view) {
        std::printf(view ? ",%lld" : "%lld", static_cast<long long>(verdict.view_labels[view]));
    }
    std::printf("\n");
    std::fflush(stdout);  // each verdict as it is made, to a pipe, too
}

void run(const Arguments& arguments) {
    const OpenedGuard opened = open_guard(arguments.guard, arguments.threads);
    blurvote::Guard guard(opened.metadata.defense, *opened.session, arguments.plan, arguments.threads,
                          opened.denoiser.get());
    long frame = 0;
    for (const std::string& path : arguments.files) {
        std::ifstream file;
        if (path != "-") file.open(path, std::ios::binary);
        if (!file) throw std::runtime_error("cannot read " + path);
        FrameReader reader(path == "-" ? std::cin : file, arguments.raw);
        try {
            // Raw video is of one camera, whose noise changes little from frame to frame.
            for (bool follows = false; const auto span = reader.next(); follows = arguments.raw.has_value()) {
                print(frame++, guard.classify(*span, follows), opened.metadata.labels);
            }
        } catch (const std::exception& error) {
            throw std::runtime_error(path + ", frame " + std::to_string(frame) + ": " + error.what());
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        run(parse(argc, argv));
    } catch (const std::exception& error) {
        std::fprintf(stderr, "classify: %s\n", error.what());
        return 2;
    }
}
