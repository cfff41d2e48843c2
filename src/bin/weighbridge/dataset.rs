//! Fashion-MNIST, built into the binary.

use crate::Result;
use std::io::Read;
use weighbridge::tensor::Tensor;

const CALIBRATION: &[u8] = include_bytes!("../../../assets/fashion_mnist/calib_images_u8.npy.gz");
const TEST_IMAGES: &[u8] = include_bytes!("../../../assets/fashion_mnist/test10k_images_u8.npy.gz");
const TEST_LABELS: &[u8] = include_bytes!("../../../assets/fashion_mnist/test10k_labels.npy");

/// Networks that were trained on it, by name.
pub const NETWORKS: [(&str, &[u8]); 3] = [
    ("cnn", include_bytes!("../../../assets/fashion_mnist/cnn.onnx")),
    ("mlp", include_bytes!("../../../assets/fashion_mnist/mlp.onnx")),
    ("vit", include_bytes!("../../../assets/fashion_mnist/vit.onnx")),
];

/// The labels' names.
pub const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Height and width of an image.
pub const SIZE: usize = 28;
/// How many test images there are.
pub const TESTS: usize = 10_000;

/// Grey images, one byte for each pixel.
pub struct Images {
    pixels: Vec<u8>,
}

impl Images {
    /// The 512 images for calibration. No network was trained on them.
    pub fn calibration() -> Result<Self> {
        Ok(Self { pixels: npy(flate2::read::GzDecoder::new(CALIBRATION), &[512, SIZE as u64, SIZE as u64])? })
    }

    /// The first `count` test images.
    pub fn test(count: usize) -> Result<Self> {
        let shape = [TESTS as u64, SIZE as u64, SIZE as u64];
        let mut pixels = npy(flate2::read::GzDecoder::new(TEST_IMAGES), &shape)?;
        pixels.truncate(count * SIZE * SIZE);
        Ok(Self { pixels })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.pixels.len() / (SIZE * SIZE)
    }

    /// The pixels of one image.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * SIZE * SIZE..][..SIZE * SIZE]
    }

    /// `[batch, 1, 28, 28]` tensors as the networks take them; the last has what is left.
    pub fn batches(&self, batch: usize) -> Result<Vec<Tensor>> {
        let normal = |&pixel: &u8| (f32::from(pixel) / 255.0 - 0.2860) / 0.3530;
        let tensor = |pixels: &[u8]| {
            let values: Vec<f32> = pixels.iter().map(normal).collect();
            Ok(Tensor::f32([pixels.len() / (SIZE * SIZE), 1, SIZE, SIZE], values)?)
        };
        self.pixels.chunks(batch * SIZE * SIZE).map(tensor).collect()
    }
}

/// The labels of the first `count` test images.
pub fn labels(count: usize) -> Result<Vec<usize>> {
    let labels = npy(TEST_LABELS, &[TESTS as u64])?;
    Ok(labels.iter().take(count).map(|&label| label.into()).collect())
}

/// The bytes of an array of u8.
fn npy(reader: impl Read, shape: &[u64]) -> Result<Vec<u8>> {
    let file = npyz::NpyFile::new(std::io::BufReader::new(reader))?;
    if file.shape() != shape {
        return Err(format!("an array of shape {:?} where {shape:?} was expected", file.shape()).into());
    }
    Ok(file.into_vec()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_set_is_whole_and_balanced() {
        let (images, labels) = (Images::test(TESTS).unwrap(), labels(TESTS).unwrap());
        assert_eq!((images.len(), labels.len()), (TESTS, TESTS));
        for (class, name) in CLASSES.iter().enumerate() {
            assert_eq!(labels.iter().filter(|&&l| l == class).count(), 1000, "{name}");
        }
        // The first test image is an ankle boot: dark above, bright at the sole.
        assert_eq!(CLASSES[labels[0]], "Ankle boot");
        assert_eq!(images.image(0)[..28], [0; 28]);
        assert!(images.image(0)[20 * 28..21 * 28].iter().filter(|&&p| p > 100).count() > 14);
    }

    #[test]
    fn batches_are_normalised_and_the_last_is_shorter() {
        let images = Images::test(70).unwrap();
        let batches = images.batches(64).unwrap();
        let shapes: Vec<_> = batches.iter().map(|b| b.shape().to_vec()).collect();
        assert_eq!(shapes, [[64, 1, 28, 28], [6, 1, 28, 28]]);
        let first = batches[0].as_f32().unwrap();
        assert!((first[0] - -0.8102).abs() < 1e-4, "black is {}", first[0]);
        let brightest = images.image(0).iter().position(|&p| p == 255).unwrap();
        assert!((first[brightest] - 2.0227).abs() < 1e-4, "white is {}", first[brightest]);
    }

    #[test]
    fn calibration_images_are_not_test_images() {
        let (calibration, test) = (Images::calibration().unwrap(), Images::test(TESTS).unwrap());
        assert_eq!(calibration.len(), 512);
        let known: std::collections::HashSet<&[u8]> = (0..TESTS).map(|i| test.image(i)).collect();
        assert!((0..512).all(|i| !known.contains(calibration.image(i))));
    }
}
