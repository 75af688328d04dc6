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
    // Else a session's idle threads take the cores from the kernel and the other session.
    options.AddConfigEntry("session.force_spinning_stop", "1");
    return options;
}

// What a graph of one float32 input and one output of interest is called, and how much it takes.
struct Tensors {
    const char *input, *output;
    int channels;      // of the input (B, channels, h, w)
    std::size_t most;  // images at once
};

class OnnxRuntimeSession final : public blurvote::Session {
  public:
    OnnxRuntimeSession(const std::string& path, int threads)
        : environment_(make_environment()), session_(environment_, path.c_str(), make_options(threads)) {}

    // Of a model in memory.
    OnnxRuntimeSession(const void* bytes, std::size_t size, int threads)
        : environment_(make_environment()), session_(environment_, bytes, size, make_options(threads)) {}

    std::map<std::string, std::string> metadata() const {
        Ort::AllocatorWithDefaultOptions allocator;
        const Ort::ModelMetadata model = session_.GetModelMetadata();
        std::map<std::string, std::string> entries;
        for (const Ort::AllocatedStringPtr& key : model.GetCustomMetadataMapKeysAllocated(allocator)) {
            entries[key.get()] = model.LookupCustomMetadataMapAllocated(key.get(), allocator).get();
        }
        return entries;
    }

    // Makes room, and learns from a first run how many floats come out per image.
    void prepare(const Tensors& tensors, const blurvote::Geometry& geometry) {
        tensors_ = tensors;
        shape_ = {1, tensors.channels, geometry.crop_h, geometry.crop_w};
        image_ = static_cast<std::size_t>(tensors.channels) * geometry.crop_h * geometry.crop_w;
        images_.assign(tensors.most * image_, 0.0f);
        run(1);
        const Ort::TensorTypeAndShapeInfo made = made_.GetTensorTypeAndShapeInfo();
        if (made.GetShape().size() < 2 || made.GetShape()[0] != 1 || made.GetElementCount() < 1) refuse();
        classes_ = made.GetElementCount();
    }

    std::size_t classes() const override { return classes_; }
    float* input(int) override { return images_.data(); }

    const float* run(int count) override {
        shape_[0] = count;
        const Ort::Value images =
            Ort::Value::CreateTensor<float>(memory_, images_.data(), count * image_, shape_.data(), shape_.size());
        const Ort::RunOptions options{nullptr};
        made_ = std::move(session_.Run(options, &tensors_.input, &images, 1, &tensors_.output, 1).front());
        // What comes out is the file's to say, and is read without a check of its type and size.
        const Ort::TensorTypeAndShapeInfo made = made_.GetTensorTypeAndShapeInfo();
        const bool as_learned = classes_ == 0 || made.GetElementCount() == count * classes_;
        if (made.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || !as_learned) refuse();
        return made_.GetTensorData<float>();
    }

  private:
    [[noreturn]] void refuse() const {
        throw std::runtime_error(std::string("the tensor ") + tensors_.output + " is not (B, ...) of float32");
    }

    Ort::Env environment_;
    Ort::Session session_;
    Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    Tensors tensors_{};
    std::array<int64_t, 4> shape_{};
    std::size_t image_ = 0, classes_ = 0;
    std::vector<float> images_;
    Ort::Value made_{nullptr};
};

}  // namespace

OpenedGuard open_guard(const std::string& path, int threads) {
    auto session = std::make_unique<OnnxRuntimeSession>(path, threads);
    OpenedGuard opened{blurvote::parse_metadata(session->metadata()), nullptr, nullptr};
    const blurvote::Geometry& geometry = opened.metadata.defense.spec.geometry;
    session->prepare({"views", "logits", 3, geometry.passes.size()}, geometry);
    opened.session = std::move(session);
    if (opened.metadata.defense.adaptive()) {
        const std::string& onnx = opened.metadata.denoiser->onnx;
        auto denoiser = std::make_unique<OnnxRuntimeSession>(onnx.data(), onnx.size(), threads);
        denoiser->prepare({"noisy", "views", 4, 1}, geometry);
        opened.denoiser = std::move(denoiser);
    }
    return opened;
}
