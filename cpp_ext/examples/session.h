// What the host of the example brings; one implementation per inference engine.
#pragma once

#include <memory>
#include <string>

#include <blurvote/guard.h>

struct OpenedGuard {
    blurvote::GuardMetadata metadata;
    std::unique_ptr<blurvote::Session> session;
    std::unique_ptr<blurvote::Session> denoiser;  // of an adaptive defence
};

// Opens a guard of kind "views", ready to run. threads: of one inference, where the engine has them.
// Throws std::exception with a reason for people.
OpenedGuard open_guard(const std::string& path, int threads);
