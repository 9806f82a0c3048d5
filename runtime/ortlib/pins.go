package ortlib

// Version is the one release of ONNX Runtime this program is built and tested against.
const Version = "1.27.0"

// npmPackage is where the library comes from; the npm client resolves the name.
const (
	npmPackage = "onnxruntime-node"
	// tarballSize is the length of that package's archive, the total of the download's progress.
	tarballSize = 100893124
)

// pin fixes one file: nothing else is loaded under its name.
type pin struct {
	name   string // file name, as in the npm package
	size   int64  // bytes
	sha256 string // lower-case hexadecimal
}

// platform is what one operating system and processor need.
type platform struct {
	npmDir string // folder inside the npm package
	files  []pin  // the runtime itself first, then the libraries it loads from its own folder
	names  []string
}

// platforms is keyed by GOOS/GOARCH. Sizes and sums are those of the files in onnxruntime-node 1.27.0;
// after `npm pack onnxruntime-node@1.27.0` and `tar xzf`, `sha256sum` and `ls -l` print them.
var platforms = map[string]platform{
	"linux/amd64": {
		npmDir: "linux/x64",
		names:  []string{"libonnxruntime.so.1", "libonnxruntime.so." + Version, "libonnxruntime.so"},
		files: []pin{
			{"libonnxruntime.so.1", 38023776, "d8aff4aa8abee8fb2abb2f2f2459ffc94461e781e41b9f7c072829dd0d470221"},
		},
	},
	"linux/arm64": {
		npmDir: "linux/arm64",
		names:  []string{"libonnxruntime.so.1", "libonnxruntime.so." + Version, "libonnxruntime.so"},
		files: []pin{
			{"libonnxruntime.so.1", 20001880, "c36bc200e7e6c093b8abb0b34590fbdd8c52fd3fb5e33795b9523ffdde2fce0f"},
		},
	},
	"darwin/arm64": {
		npmDir: "darwin/arm64",
		names:  []string{"libonnxruntime.1.dylib", "libonnxruntime." + Version + ".dylib", "libonnxruntime.dylib"},
		files: []pin{
			{"libonnxruntime.1.dylib", 38800984, "89f692a3a1a224e4ad0b796b0e7c0bd81113b0741bfe84211eceef14d05a9e59"},
		},
	},
	"windows/amd64": {
		npmDir: "win32/x64",
		names:  []string{"onnxruntime.dll"},
		files: []pin{
			{"onnxruntime.dll", 26011960, "273f9ef9cf755c6a0f342226a80448156c10ceb74db2ae8c8370dc98e75af0eb"},
			{"DirectML.dll", 18527544, "86d9b418e982fa1effb6ea39cb916b04fe3896ccedc6982d73a5477459b56d81"},
			{"dxcompiler.dll", 17986360, "b2d807864ae4a7cdd4a8f09cc947206f60170c90f41fc248a9cdd800f4c6fbcd"},
			{"dxil.dll", 1508664, "5f307a712416ae5213f2b4469e25c4258191c8284513fa5d2bd828a14c5052ef"},
		},
	},
	"windows/arm64": {
		npmDir: "win32/arm64",
		names:  []string{"onnxruntime.dll"},
		files: []pin{
			{"onnxruntime.dll", 26834232, "908ce63e73f375e90daabe24c52486b42392c19df3d63973a26f871cfeab5453"},
			{"DirectML.dll", 18444600, "759a2d3054d4ce583186bd6f0b5c36071492b3dfba8be456b69f1b17b313171c"},
			{"dxcompiler.dll", 22285624, "af2c099ca8270ddcdf5d5aca248345db997c714c5112553a932a75a472c2ae9d"},
			{"dxil.dll", 1769784, "87213188bf7bdcf0498684aaff8238666645c67e55e8c956d27d3a4da7453cbe"},
		},
	},
}
