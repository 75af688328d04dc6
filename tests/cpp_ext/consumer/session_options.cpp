// Prints whether the example has the threads of its ONNX Runtime sessions stop spinning after a run.
#include "session_onnxruntime.cpp"

#include <cstdio>

int main() {
    std::puts(make_options(2).GetConfigEntryOrDefault("session.force_spinning_stop", "").c_str());
}
