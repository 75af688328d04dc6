// A session of TensorRT 10 or newer. Reads GUARD.onnx for its metadata, which an engine does not
// keep, and runs the engine GUARD.plan beside it, which trtexec builds with
//     --onnx=guard.onnx --saveEngine=guard.plan
//     --minShapes=views:1x3x224x224 --optShapes=views:3x3x224x224 --maxShapes=views:3x3x224x224
#include "session.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include <NvInfer.h>
#include <cuda_runtime_api.h>

namespace {

void check(cudaError_t error) {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(error));
}

void check(bool ok, const char* what) {
    if (!ok) throw std::runtime_error(std::string("TensorRT: ") + what);
}

class Logger final : public nvinfer1::ILogger {
    void log(Severity severity, const char* message) noexcept override {
        if (severity <= Severity::kWARNING) std::fprintf(stderr, "TensorRT: %s\n", message);
    }
};

// Page-locked memory with a device address. Where the GPU shares the CPU's memory, as on a Jetson,
// both are the same bytes and nothing is copied.
class Buffer {
  public:
    Buffer(std::size_t floats, bool shared) : bytes_(floats * sizeof(float)), shared_(shared) {
        check(cudaHostAlloc(&host_, bytes_, cudaHostAllocMapped));
        check(shared ? cudaHostGetDevicePointer(&device_, host_, 0) : cudaMalloc(&device_, bytes_));
    }
    ~Buffer() {
        if (!shared_) cudaFree(device_);
        cudaFreeHost(host_);
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    float* host() const { return static_cast<float*>(host_); }
    void* device() const { return device_; }
    void upload(std::size_t floats, cudaStream_t stream) const {
        if (!shared_) check(cudaMemcpyAsync(device_, host_, floats * sizeof(float), cudaMemcpyHostToDevice, stream));
    }
    void download(std::size_t floats, cudaStream_t stream) const {
        if (!shared_) check(cudaMemcpyAsync(host_, device_, floats * sizeof(float), cudaMemcpyDeviceToHost, stream));
    }

  private:
    std::size_t bytes_;
    bool shared_;
    void *host_ = nullptr, *device_ = nullptr;
};

std::vector<char> contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path + "; build it with trtexec (see session_tensorrt.cpp)");
    return {std::istreambuf_iterator<char>(file), {}};
}

class TensorRtSession final : public blurvote::Session {
  public:
    TensorRtSession(const std::string& plan, const blurvote::Geometry& geometry)
        : height_(geometry.crop_h), width_(geometry.crop_w) {
        const std::vector<char> bytes = contents(plan);
        runtime_.reset(nvinfer1::createInferRuntime(logger_));
        check(runtime_ != nullptr, "no runtime");
        engine_.reset(runtime_->deserializeCudaEngine(bytes.data(), bytes.size()));
        check(engine_ != nullptr, "the engine was built by another version or for another GPU; build it again");
        check(engine_->getTensorDataType("views") == nvinfer1::DataType::kFLOAT &&
                  engine_->getTensorDataType("logits") == nvinfer1::DataType::kFLOAT,
              "expected the float32 tensors views and logits");
        const nvinfer1::Dims logits = engine_->getTensorShape("logits");
        check(logits.nbDims == 2 && logits.d[1] > 0, "the logits are not (B, C)");
        classes_ = static_cast<std::size_t>(logits.d[1]);
        context_.reset(engine_->createExecutionContext());
        check(context_ != nullptr, "no execution context");

        int device = 0, integrated = 0;
        check(cudaGetDevice(&device));
        check(cudaDeviceGetAttribute(&integrated, cudaDevAttrIntegrated, device));
        check(cudaStreamCreate(&stream_));
        const std::size_t most = geometry.passes.size();
        views_ = std::make_unique<Buffer>(most * view(), integrated != 0);
        logits_ = std::make_unique<Buffer>(most * classes_, integrated != 0);
        check(context_->setTensorAddress("views", views_->device()), "cannot bind views");
        check(context_->setTensorAddress("logits", logits_->device()), "cannot bind logits");
    }
    ~TensorRtSession() override {
        if (stream_ != nullptr) cudaStreamDestroy(stream_);
    }

    std::size_t classes() const override { return classes_; }
    float* input(int) override { return views_->host(); }

    const float* run(int count) override {
        check(context_->setInputShape("views", nvinfer1::Dims4{count, 3, height_, width_}),
              "the engine's profile has no batch of so many views; build it with 1 to all");
        views_->upload(count * view(), stream_);
        check(context_->enqueueV3(stream_), "inference failed");
        logits_->download(count * classes_, stream_);
        check(cudaStreamSynchronize(stream_));
        return logits_->host();
    }

  private:
    std::size_t view() const { return 3 * static_cast<std::size_t>(height_) * width_; }

    int height_, width_;
    std::size_t classes_ = 0;
    Logger logger_;
    std::unique_ptr<nvinfer1::IRuntime> runtime_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    cudaStream_t stream_ = nullptr;
    std::unique_ptr<Buffer> views_, logits_;
};

}  // namespace

OpenedGuard open_guard(const std::string& path, int) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    const blurvote::GuardMetadata metadata = blurvote::parse_metadata(blurvote::read_onnx_metadata(file));
    if (metadata.defense.adaptive()) throw std::runtime_error(path + " needs a denoiser; this example runs none");
    const std::string plan = path.substr(0, path.rfind(".onnx")) + ".plan";
    return {metadata, std::make_unique<TensorRtSession>(plan, metadata.defense.spec.geometry), nullptr};
}
