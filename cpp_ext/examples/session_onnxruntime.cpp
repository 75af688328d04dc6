// A session of ONNX Runtime, on the CPU. For another provider append it to the options, such as
//     options.AppendExecutionProvider_CUDA_V2(...)  or  options.AppendExecutionProvider_TensorRT_V2(...)
#include "session.h"

#include <array>
#include <map>
#include <stdexcept>
#include <vector>

#include <onnxruntime_cxx_api.h>

namespace {

// A library older than the headers has no such API, and would be called through a null pointer.
Ort::Env make_environment() {
    if (OrtGetApiBase()->GetApi(ORT_API_VERSION) == nullptr) {
        throw std::runtime_error(std::string("ONNX Runtime ") + OrtGetApiBase()->GetVersionString() +
                                 " is older than the headers of 1." + std::to_string(ORT_API_VERSION) +
                                 " that this program was built with");
    }
    return Ort::Env(ORT_LOGGING_LEVEL_WARNING, "blurvote");
}

Ort::SessionOptions make_options(int threads) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);
    options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
    return options;
}

class OnnxRuntimeSession final : public blurvote::Session {
  public:
    OnnxRuntimeSession(const std::string& path, int threads)
        : environment_(make_environment()), session_(environment_, path.c_str(), make_options(threads)) {}

    std::map<std::string, std::string> metadata() const {
        Ort::AllocatorWithDefaultOptions allocator;
        const Ort::ModelMetadata model = session_.GetModelMetadata();
        std::map<std::string, std::string> entries;
        for (const Ort::AllocatedStringPtr& key : model.GetCustomMetadataMapKeysAllocated(allocator)) {
            entries[key.get()] = model.LookupCustomMetadataMapAllocated(key.get(), allocator).get();
        }
        return entries;
    }

    // Makes room for the defence's views, and learns the number of classes from a first run.
    void prepare(const blurvote::Geometry& geometry) {
        shape_ = {1, 3, geometry.crop_h, geometry.crop_w};
        view_ = 3 * static_cast<std::size_t>(geometry.crop_h) * geometry.crop_w;
        views_.assign(geometry.passes.size() * view_, 0.0f);
        run(1);
        const std::vector<int64_t> shape = logits_.GetTensorTypeAndShapeInfo().GetShape();
        if (shape.size() != 2 || shape[0] != 1 || shape[1] < 1) {
            throw std::runtime_error("the guard's logits are not (B, C)");
        }
        classes_ = static_cast<std::size_t>(shape[1]);
    }

    std::size_t classes() const override { return classes_; }
    float* input(int) override { return views_.data(); }

    const float* run(int count) override {
        const char *input = "views", *output = "logits";
        shape_[0] = count;
        const Ort::Value views =
            Ort::Value::CreateTensor<float>(memory_, views_.data(), count * view_, shape_.data(), shape_.size());
        logits_ = std::move(session_.Run(Ort::RunOptions{nullptr}, &input, &views, 1, &output, 1).front());
        // What comes out is the file's to say, and is read without a check of its type and size.
        const Ort::TensorTypeAndShapeInfo made = logits_.GetTensorTypeAndShapeInfo();
        const bool as_learned = classes_ == 0 || made.GetElementCount() == count * classes_;
        if (made.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || !as_learned) {
            throw std::runtime_error("the guard's logits are not (B, C) of float32");
        }
        return logits_.GetTensorData<float>();
    }

  private:
    Ort::Env environment_;
    Ort::Session session_;
    Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    std::array<int64_t, 4> shape_{};
    std::size_t view_ = 0, classes_ = 0;
    std::vector<float> views_;
    Ort::Value logits_{nullptr};
};

}  // namespace

OpenedGuard open_guard(const std::string& path, int threads) {
    auto session = std::make_unique<OnnxRuntimeSession>(path, threads);
    const blurvote::GuardMetadata metadata = blurvote::parse_metadata(session->metadata());
    session->prepare(metadata.defense.spec.geometry);
    return {metadata, std::move(session)};
}
